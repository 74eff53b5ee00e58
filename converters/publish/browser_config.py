"""What transformers.js reads beside ONNX files: `config.json` and `preprocessor_config.json`.

Read off transformers.js 4.3.1 and tried with it (`scripts/try_transformers_js.py`): `model_type` "isnet" is one of its
architectures that are nothing but a graph, `background-removal` feeds a graph's one input whatever it is called, and
takes the first output for probabilities when it lies in [0, 1].
"""

from collections.abc import Iterable
from typing import Any

from u2net_zoo.arch import Architecture
from u2net_zoo.preprocessing import Profile

__all__ = ["FILES", "configs", "obstacle"]

# Precision -> what it is called in the folder `onnx`, and what people ask for as `dtype`.
FILES = {"fp32": ("model.onnx", "fp32"), "fp16": ("model_fp16.onnx", "fp16"), "int8": ("model_int8.onnx", "int8")}
BILINEAR = 2


def obstacle(arch: Architecture, profile: Profile) -> str:
    """Why transformers.js cannot feed the network or read its answer; empty where it can."""
    if arch.in_ch != 3:
        return f"the network takes {arch.in_ch} channels"
    if arch.out_ch != 1:
        return "the network tells classes apart"
    if profile.letterbox:
        return f"profile {profile.name} fits photographs into a square, which its image processor does not"
    if profile.invert:
        return f"profile {profile.name} inverts the answer, which its pipelines do not"
    return ""


def configs(
    arch: Architecture, profile: Profile, size: tuple[int, int], precisions: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """File name -> content.

    Args:
        size: (H, W) of the files' input.
        precisions: keys of `FILES` that are there; the first of `FILES` is what is loaded when nothing is asked for.
            Without that, a browser asks for a file that is not there.
    """
    there = list(precisions)
    dtype = next(name for precision, (_, name) in FILES.items() if precision in there)
    height, width = size
    processor = {
        "image_processor_type": "ImageProcessor",
        "do_resize": True,
        "size": {"width": width, "height": height},
        "resample": BILINEAR,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(profile.mean),
        "image_std": list(profile.std),
        "do_pad": False,
    }
    model = {"model_type": "isnet", "transformers.js_config": {"dtype": dtype}}
    return {
        "config.json": {**model, "u2zoo": {"architecture": arch.name, "profile": profile.name}},
        "preprocessor_config.json": processor,
    }
