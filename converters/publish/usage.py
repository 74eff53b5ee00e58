"""How a published file is used, in a few lines of each format."""

from collections.abc import Sequence

from .proving import ProvedFile

__all__ = ["browser_lines", "preparation_lines", "usage_of"]

DOWNLOAD = 'hf_hub_download("{repo}", "{file}")'
ONNX = f"""import onnxruntime
from huggingface_hub import hf_hub_download
session = onnxruntime.InferenceSession({DOWNLOAD})
d0 = session.run(None, {{{{session.get_inputs()[0].name: x}}}})[0]"""
TORCH = """import torch
from u2net_zoo import load_torch
model = load_torch("hf:{repo}/{file}", outputs="mask")
d0 = model(torch.from_numpy(x))"""
TORCHSCRIPT = f"""import torch
from huggingface_hub import hf_hub_download
model = torch.jit.load({DOWNLOAD})
d0 = model(torch.from_numpy(x))"""
# Of any format, and of files that take pictures: no tensor is to be prepared.
ANY = """from PIL import Image
from u2net_zoo import Session
mask = Session("hf:{repo}/{file}").mask(Image.open("photo.jpg"))
mask.save("mask.png")"""
OF_TENSORS = {"onnx": ONNX, "safetensors": TORCH, "pth": TORCH, "torchscript": TORCHSCRIPT}


def preparation_lines(profile: str, size: tuple[int, int]) -> str:
    """Python that makes `x`."""
    return (
        "from PIL import Image\nfrom u2net_zoo.preprocessing import get_profile\n"
        f'x = get_profile("{profile}").tensor(Image.open("photo.jpg"), {size})'
    )


def usage_of(file: ProvedFile, repo: str, place: str) -> str:
    """Python that runs one file: on `x`, or on a photograph."""
    template = OF_TENSORS.get(file.fmt.name, ANY) if file.is_plain else ANY
    return template.format(repo=repo, file=place)


def browser_lines(repo: str, dtypes: Sequence[str]) -> str:
    """JavaScript for transformers.js."""
    chosen = f"  // or {{ dtype: '{dtypes[-1]}' }}" if len(dtypes) > 1 else ""
    return (
        "import { pipeline } from '@huggingface/transformers';\n"
        f"const segmenter = await pipeline('background-removal', '{repo}');{chosen}\n"
        "const cutout = await segmenter('photo.jpg');\n"
        "await cutout.save('cutout.png');"
    )
