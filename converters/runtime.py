"""A checkpoint run by a format's own runtime, without an artifact that stays."""

import tempfile

from u2net_zoo.checkpoint import Checkpoint

from .base import Format, Options, Predictor
from .conversion import convert

__all__ = ["run_checkpoint"]


def run_checkpoint(checkpoint: Checkpoint, fmt: Format, *, size: tuple[int, int] | None = None) -> Predictor:
    """Converts `checkpoint` to `fmt` in a temporary folder, proof included; the folder goes with the predictor.

    Args:
        size: (H, W) that it is written for; no profile goes into its graph.
    """
    options = Options(size=size, io="tensor" if "tensor" in fmt.choices.get("io", ()) else None)
    folder = tempfile.TemporaryDirectory(prefix="u2zoo-")
    predictor = fmt.run(convert(checkpoint, [fmt.name], folder.name, options=options)[0].path)
    predictor.scratch = folder
    return predictor
