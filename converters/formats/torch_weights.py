"""`pth` and `safetensors`: the state dict under the authors' names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import SAFETENSORS, TORCH
from u2net_zoo.dilation import BLOCKS, kinds_of
from u2net_zoo.errors import CheckpointError, OptionError
from u2net_zoo.identify import identify
from u2net_zoo.limits import has_member
from u2net_zoo.reading import metadata_of_safetensors, read_checkpoint

from ..format import Format
from ..mask_errors import MaskBound
from ..options import Options
from ..predictor import Predictor
from ..torch_predictor import TorchPredictor

__all__ = ["Pth", "Safetensors"]

# fp16 storage alone moves u2netp's masks; measured on scikit-image's astronaut, cat and rocket at 320, 2026-11-20:
# see parity_tests/formats/test_every_format.py for the figures of each format.
FP16 = MaskBound(iou=0.98, mae=0.005)


class _WeightFile(Format):
    """Weights without a graph: they serve every size and batch, and hold all outputs."""

    has_graph = False
    choices = {
        "precision": ("fp32", "fp16"),
        "outputs": ("all",),
        "io": ("tensor",),
        "via": ("native",),
    }
    bounds = {"fp16": FP16}

    def read(self, path: Path) -> Checkpoint:
        return read_checkpoint(path)

    def read_as(self, path: Path, key: str | None, blocks: str | None) -> Checkpoint:
        return read_checkpoint(path, key, blocks)

    def open(self, path: Path) -> Predictor:
        return TorchPredictor(read_checkpoint(path))


class Pth(_WeightFile):
    name = "pth"
    title = "Torch state dict"
    suffix = ".pth"
    unit_bytes, writing_seconds = 1700, 2
    also = (".pt",)
    signature = TORCH

    def accepts(self, path: Path) -> bool:
        return super().accepts(path) and not (path.suffix == ".pt" and has_member(path, "constants.pkl"))  # TorchScript

    extra = "torch"
    packages = ("torch",)

    def check(self, checkpoint: Checkpoint, options: Options) -> None:
        super().check(checkpoint, options)
        try:
            usual = identify(checkpoint.arch.state_shapes())
        except CheckpointError:
            usual = None
        if usual is None or kinds_of(usual) != kinds_of(checkpoint.arch):
            raise OptionError(
                f"format {self.name!r} does not say which blocks are dilated, and these are not the usual ones"
                f" ({kinds_of(checkpoint.arch)}); --to safetensors says it"
            )

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        import torch

        arrays = _state_to_store(checkpoint, options)
        torch.save({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, path)


class Safetensors(_WeightFile):
    name = "safetensors"
    title = "safetensors"
    suffix = ".safetensors"
    unit_bytes, writing_seconds = 650, 1
    signature = SAFETENSORS
    extra = "torch"
    packages = ("safetensors", "torch")
    reading = ("safetensors",)

    def words_in(self, path: Path) -> Mapping[str, str]:
        return metadata_of_safetensors(path)

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        from safetensors.numpy import save

        metadata = {"architecture": checkpoint.arch.name, BLOCKS: kinds_of(checkpoint.arch), **checkpoint.meta}
        path.write_bytes(
            save(_state_to_store(checkpoint, options), metadata)
        )  # its own save_file is for the owner alone


def _state_to_store(checkpoint: Checkpoint, options: Options) -> dict[str, np.ndarray]:
    """Every key that the authors' class wants, in the precision asked for."""
    half = options.precision == "fp16"
    state = checkpoint.full_state().items()
    return {key: value.astype(np.float16) if half and value.dtype == np.float32 else value for key, value in state}
