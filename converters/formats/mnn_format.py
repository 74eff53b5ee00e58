"""`mnn`: written directly from the architecture's own walk; run by the `MNN` package."""

from collections.abc import Iterator
from pathlib import Path

from u2net_zoo.checkpoint import Checkpoint

from ..format import Format, Lane
from ..mask_errors import MaskBound
from ..options import DYNAMIC, Options
from ..predictor import Predictor
from . import mnn_reader
from .mnn_graph import mnn_bytes
from .mnn_runtime import MNNRuntime

__all__ = ["Mnn"]


ARTIFACT = "converters.isolated.predictors:open_artifact"


class Mnn(Format):
    name = "mnn"
    title = "MNN model"
    suffix = ".mnn"
    extra = "mnn"
    packages = ("torch", "MNN")
    running = ("MNN",)
    lanes = (Lane("MNN"), Lane("MNN, exact kernels", opener=ARTIFACT, arguments={"exact": True}))
    choices = {
        "batch": (1, DYNAMIC),
        "precision": ("fp32", "fp16"),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "via": ("native",),
    }
    bounds = {"fp16": MaskBound(iou=0.98, mae=0.005)}

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        path.write_bytes(mnn_bytes(checkpoint, options))

    def open(self, path: Path) -> Predictor:
        return MNNRuntime(path)

    def open_exact(self, path: Path) -> Predictor:
        return MNNRuntime(path, exact=True)

    def proofs(self, path: Path) -> Iterator[Predictor]:
        """By the plain kernels, which show what the file holds, and by those that run it."""
        yield self.run(path, exact=True)
        yield self.run(path)

    def read(self, path: Path) -> Checkpoint:
        return mnn_reader.read(path)
