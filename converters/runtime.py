"""A checkpoint run by a format's own runtime, without an artifact that stays."""

import tempfile

from u2net_zoo.checkpoint import Checkpoint

from .base import Format, Predictor
from .conversion import convert

__all__ = ["run_checkpoint"]


def run_checkpoint(checkpoint: Checkpoint, fmt: Format) -> Predictor:
    """Converts `checkpoint` to `fmt` in a temporary folder, proof included; the folder goes with the predictor."""
    folder = tempfile.TemporaryDirectory(prefix="u2zoo-")
    predictor = fmt.run(convert(checkpoint, [fmt.name], folder.name)[0].path)
    predictor.scratch = folder
    return predictor
