"""`torchscript` and `pt2`: the folded Torch model, traced or exported, with its weights under their names."""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Signature
from u2net_zoo.errors import ArtifactError, CheckpointError, NotANetworkError, one_line
from u2net_zoo.folded import checkpoint_of
from u2net_zoo.identify import ANCHOR, strip_prefix
from u2net_zoo.limits import has_member, member, open_zip

from ..format import Format
from ..options import Options
from ..predictor import Predictor
from . import other_activations, torch_archive
from .layout import check_input
from .traced_torch import exportable

__all__ = ["PT2", "TorchScript"]

# `input = torch._convolution(x, CONSTANTS.c0, CONSTANTS.c1, …`: a frozen module's weights are constants of its code.
FROZEN = re.compile(
    r"torch\.(?:_convolution|conv2d)\(\w+, CONSTANTS\.c(\d+), (?:CONSTANTS\.c(\d+)|None)"
    rf"(?:,\s*{torch_archive.STEPS})?"
)
Pair = tuple[np.ndarray, np.ndarray | None]
INTERFACE = "u2zoo.txt"  # names of the outputs: neither format keeps any


class _TorchFile(Format):
    extra = "torch"
    packages = ("torch",)
    inner_values = False
    choices = {
        "batch": (1,),
        "precision": ("fp32",),
        "outputs": ("mask", "all"),
        "io": ("tensor",),
        "via": ("native",),
    }

    def sample(self, checkpoint: Checkpoint, options: Options) -> Any:
        import torch

        return torch.zeros(options.batch or 1, checkpoint.arch.in_ch, *(options.size or ()))


class TorchScript(_TorchFile):
    name = "torchscript"
    title = "TorchScript"
    suffix = ".torchscript"
    unit_bytes, writing_seconds = 4400, 5
    also = (".pt", ".ptl")
    signature = Signature(members=("/data.pkl", "/constants.pkl"))

    def accepts(self, path: Path) -> bool:
        if path.suffix == ".pt":  # a state dict more often
            return path.is_file() and has_member(path, "constants.pkl")
        return super().accepts(path)

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        import torch

        model, sample = exportable(checkpoint, options), self.sample(checkpoint, options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of every size that is a constant, which is the aim
            traced = torch.jit.trace(model, sample, check_trace=False)
            traced.save(str(path), _extra_files={INTERFACE: _interface(checkpoint, options)})

    def open(self, path: Path) -> Predictor:
        import torch

        extra: dict[str, Any] = {INTERFACE: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = torch.jit.load(str(path), map_location="cpu", _extra_files=extra).eval()
        except Exception as error:  # TorchScript's loader raises RuntimeError and others for damage
            raise ArtifactError(f"{path}: Torch cannot load it ({one_line(error)})") from None
        return _Runtime(model, extra[INTERFACE])

    def read(self, path: Path) -> Checkpoint:
        with open_zip(path) as archive:
            root, code = _root(archive), _code(archive)
            tree = torch_archive.records(member(archive, f"{root}/data.pkl"))
            state = strip_prefix(dict(torch_archive.tensors(archive, root, "data", tree)))
            _refuse_other_activations(code)
            final = "sigmoid" if "torch.sigmoid" in code else "none"
            if ANCHOR in state:
                found = torch_archive.dilations(archive, root, tree)
                return Checkpoint.from_state(state, dilations=found).unfold().with_final(final)
            pairs, dilations = _frozen(archive, root, code)
            return checkpoint_of(pairs, dilations=dilations, final=final)


class PT2(_TorchFile):
    name = "pt2"
    title = "torch.export"
    suffix = ".pt2"
    unit_bytes, writing_seconds = 15500, 5
    signature = Signature(members=("/models/model.json", "/archive_format"))

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        import torch

        program = torch.export.export(exportable(checkpoint, options), (self.sample(checkpoint, options),))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where on this machine the code lies that was traced
        torch.export.save(program, str(path), extra_files={INTERFACE: _interface(checkpoint, options)})

    def open(self, path: Path) -> Predictor:
        import torch

        _refuse_pickles(path)
        extra: dict[str, Any] = {INTERFACE: ""}
        try:
            model = torch.export.load(str(path), extra_files=extra).module()
        except Exception as error:  # the schema's errors, zip errors and Torch's own
            raise ArtifactError(f"{path}: Torch cannot load it ({one_line(error)})") from None
        return _Runtime(model, extra[INTERFACE])

    def read(self, path: Path) -> Checkpoint:
        with open_zip(path) as archive:
            root = archive.namelist()[0].split("/")[0] if archive.namelist() else ""
            state = strip_prefix(torch_archive.exported(archive, root))
            graph = member(archive, f"{root}/models/model.json")
            _refuse_other_activations(graph.decode("utf-8", "replace"))
            found = torch_archive.exported_dilations(graph)
            final = "sigmoid" if b"torch.ops.aten.sigmoid" in graph else "none"
            return Checkpoint.from_state(state, dilations=found).unfold().with_final(final)


class _Runtime(Predictor):
    """A loaded module. `interface`: "1x320x320 mask side1 …" as we wrote it; empty for another maker's file."""

    def __init__(self, model: Any, interface: str | bytes):
        self.model = model
        text = interface.decode() if isinstance(interface, bytes) else interface
        size, *names = text.split()[:32] or ["any"]
        sides = size.split("x")
        numbers = [int(side) for side in sides] if len(sides) == 3 and all(map(str.isdigit, sides)) else []
        self.batch = numbers[0] if numbers else None
        self.size = (numbers[1], numbers[2]) if numbers else None
        self.outputs = tuple(names)

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        check_input(self, x)
        with torch.inference_mode():
            maps = self.model(torch.from_numpy(np.ascontiguousarray(x)))
        maps = list(maps) if isinstance(maps, tuple | list) else [maps]
        names = self.outputs or tuple(f"output{n}" for n in range(len(maps)))
        return {name: m.detach().numpy() for name, m in zip(names, maps, strict=True)}


def _interface(checkpoint: Checkpoint, options: Options) -> str:
    names = checkpoint.arch.outputs if options.outputs == "all" else checkpoint.arch.outputs[:1]
    height, width = options.size or (320, 320)
    return " ".join([f"{options.batch or 1}x{height}x{width}", *names])


def _refuse_other_activations(code: str) -> None:
    """Raises NotANetworkError where Torch's code, or an exported graph, calls another activation than ReLU."""
    if name := other_activations.named_in(code):
        raise NotANetworkError(f"not a U²-Net: it calls {name}, where ReLU is expected")


def _root(archive: zipfile.ZipFile) -> str:
    for name in archive.namelist():
        if name.endswith("/constants.pkl"):
            return name.removesuffix("/constants.pkl")
    raise CheckpointError("not TorchScript: the archive holds no constants.pkl")


def _code(archive: zipfile.ZipFile) -> str:
    return "\n".join(member(archive, n).decode("utf-8", "replace") for n in archive.namelist() if n.endswith(".py"))


def _frozen(archive: zipfile.ZipFile, root: str, code: str) -> tuple[list[Pair], list[int]]:
    """Kernels and biases of a frozen module, in its code's order, which is that of execution; and the dilations."""
    constants = torch_archive.records(member(archive, f"{root}/constants.pkl"))
    arrays = dict(torch_archive.tensors(archive, root, "constants", constants))
    pairs, dilations = [], []
    for kernel, bias, dilation in FROZEN.findall(code):
        if kernel not in arrays or (bias and bias not in arrays):
            raise CheckpointError(f"its code refers to the constant c{kernel}, which the archive lacks")
        pairs.append((arrays[kernel], arrays[bias] if bias else None))
        dilations.append(int(dilation or 0))
    return pairs, dilations


def _refuse_pickles(path: Path) -> None:
    """Raises ArtifactError for a member that loading might unpickle; what Torch writes for our network has none."""
    try:
        with open_zip(path) as archive:
            found = [n for n in archive.namelist() if n.endswith((".pt", ".pkl")) and "sample_inputs" not in n]
    except CheckpointError as error:
        raise ArtifactError(f"{path}: {error}") from None
    if found:
        raise ArtifactError(f"{path}: not run: holds pickled members: {', '.join(found[:3])}")
