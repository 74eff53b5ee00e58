"""`mnn`: written directly from the architecture's own walk; run by the `MNN` package."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OptionError

from ..format import Format, Lane
from ..mask_errors import MaskBound
from ..options import DYNAMIC, Options
from ..predictor import Predictor
from ..quantise.mixed_precision import Plan, plan_weights
from . import mnn_reader
from .mnn_graph import mnn_bytes
from .mnn_metadata import with_plain_kernels
from .mnn_profile import NO_CLASSES
from .mnn_runtime import MNNRuntime

__all__ = ["Mnn"]


PLAIN = "converters.formats.mnn_runtime:open_plain"


class Mnn(Format):
    name = "mnn"
    title = "MNN model"
    suffix = ".mnn"
    unit_bytes, writing_seconds = 460, 1
    extra = "mnn"
    packages = ("torch", "MNN")
    running = ("MNN",)
    direct = True
    steady = False
    lanes = (Lane("MNN"), Lane("MNN, plain kernels", opener=PLAIN))
    choices = {
        "batch": (1, DYNAMIC),
        "precision": ("fp32", "fp16", "int8"),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "via": ("native",),
    }
    # Measured 2026-11-26: fp16 on u2net_nano and six photographs 0.9993, worst 0.9985, 0.0002; int8 on u2netp and 18
    # photographs that are not calibrated on 0.9928, worst 0.9807, 0.0016.
    bounds = {
        "fp16": MaskBound(iou=0.990, worst=0.975, mae=0.003),
        "int8": MaskBound(iou=0.990, worst=0.975, mae=0.005),
    }

    def check(self, checkpoint: Checkpoint, options: Options) -> None:
        super().check(checkpoint, options)
        if options.io == "image" and checkpoint.arch.out_ch > 1:
            raise OptionError(NO_CLASSES)

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        if options.precision != "int8":
            path.write_bytes(mnn_bytes(checkpoint, options))
            return None
        plan = plan_weights(checkpoint, options, self.bounds["int8"], half=False)
        path.write_bytes(mnn_bytes(plan.checkpoint, options))
        return plan

    def write_to_run(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        path.write_bytes(mnn_bytes(checkpoint, options))

    def open(self, path: Path) -> Predictor:
        return MNNRuntime(path)

    def open_exact(self, path: Path) -> Predictor:
        return MNNRuntime(path, exact=True)

    def proofs(self, path: Path) -> Iterator[Predictor]:
        """By the plain kernels, which show what the file holds, and by those that run it."""
        yield self.run(path, exact=True)
        yield self.run(path)

    def forgo_fast(self, path: Path) -> bool:
        path.write_bytes(with_plain_kernels(path.read_bytes()))
        return True

    def words_in(self, path: Path) -> Mapping[str, str]:
        return mnn_reader.model(path).words

    def read(self, path: Path) -> Checkpoint:
        return mnn_reader.read(path)
