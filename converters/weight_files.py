"""`pth` and `safetensors`: the state dict under the authors' names."""

from pathlib import Path

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.limits import has_member
from u2net_zoo.reading import read_checkpoint

from .base import Format, MaskBound, Options, Predictor
from .torch_predictor import TorchPredictor

__all__ = ["Pth", "Safetensors"]

# fp16 storage alone moves u2netp's masks; measured on scikit-image's astronaut, cat and rocket at 320, 2026-11-20:
# see parity_tests/test_formats.py for the figures of each format.
FP16 = MaskBound(iou=0.98, mae=0.005)


class _WeightFile(Format):
    """Weights without a graph: they serve every size and batch, and hold all outputs."""

    choices = {
        "precision": ("fp32", "fp16"),
        "outputs": ("all",),
        "io": ("tensor",),
        "via": ("native",),
    }
    bounds = {"fp16": FP16}

    def read(self, path: Path) -> Checkpoint:
        return read_checkpoint(path)

    def run(self, path: Path) -> Predictor:
        return TorchPredictor(read_checkpoint(path))


class Pth(_WeightFile):
    name = "pth"
    title = "Torch state dict"
    suffix = ".pth"
    also = (".pt",)

    def accepts(self, path: Path) -> bool:
        return super().accepts(path) and not (path.suffix == ".pt" and has_member(path, "constants.pkl"))  # TorchScript

    extra = "torch"
    packages = ("torch",)

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        import torch

        arrays = _stored(checkpoint, options)
        torch.save({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, path)


class Safetensors(_WeightFile):
    name = "safetensors"
    title = "safetensors"
    suffix = ".safetensors"
    extra = "torch"
    packages = ("safetensors", "torch")

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        from safetensors.numpy import save_file

        metadata = {"architecture": checkpoint.arch.name, **checkpoint.meta}
        save_file(_stored(checkpoint, options), path, metadata=metadata)


def _stored(checkpoint: Checkpoint, options: Options) -> dict[str, np.ndarray]:
    """Every key that the authors' class wants, in the precision asked for."""
    half = options.precision == "fp16"
    state = checkpoint.full_state().items()
    return {key: value.astype(np.float16) if half and value.dtype == np.float32 else value for key, value in state}
