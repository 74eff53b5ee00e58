"""`onnx`: written from the walk in `arch`, run by onnxruntime."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Signature
from u2net_zoo.devices import CPU
from u2net_zoo.errors import OptionError

from ..embedded import metadata_of
from ..format import Format, Lane
from ..mask_errors import MaskBound
from ..options import DYNAMIC, Options
from ..predictor import Predictor
from ..quantise.mixed_precision import Plan
from ..quantise.onnx_int8 import int8
from . import onnx_metadata, onnx_reader
from .onnx_graph import onnx_bytes
from .onnx_providers import PROVIDERS, lacking
from .onnx_reports import unreported_onnxruntime
from .onnx_runtime import OnDevice, Runtime

__all__ = ["Onnx"]

CUDA = "converters.bench.onnx_variants:OnnxVariant"
PER_CHANNEL = 13  # the opset in which scales per channel came
# A message that starts with `ir_version`, and goes on with its producer's name in letters or with the graph.
START = re.compile(rb"\x08[\x01-\x20](?:\x12[\x01-\x40][A-Za-z][\w .+-]*|:)")
OPSETS = (17, 11, 12, 13, 14, 15, 16, 18, 19, 20)


class Onnx(Format):
    name = "onnx"
    title = "ONNX"
    suffix = ".onnx"
    unit_bytes, writing_seconds = 570, 1
    signature: ClassVar[Signature | None] = Signature(START)
    extra = "onnx"
    packages = ("torch", "onnx", "onnxruntime")
    running = ("onnxruntime",)
    running_extra = "run"
    direct = True
    devices = {CPU: "", **{device: provider.remedy for device, provider in PROVIDERS.items()}}
    lanes: ClassVar[tuple[Lane, ...]] = (
        Lane("onnxruntime"),
        Lane("onnxruntime CUDA float32", "cuda", CUDA, {"tf32": False}, artifacts=True),
        Lane("onnxruntime CUDA tf32", "cuda", CUDA, {"tf32": True}, "tf32"),
    )
    choices = {
        "batch": (DYNAMIC,),
        "precision": ("fp32", "fp16", "int8"),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "opset": OPSETS,
        "via": ("native",),
    }
    # int8 measured on u2netp and 18 photographs that are not calibrated on, 2026-11-21: 0.9874, worst 0.9607, 0.0024.
    bounds = {
        "fp16": MaskBound(iou=0.990, worst=0.975, mae=0.003),
        "int8": MaskBound(iou=0.985, worst=0.96, mae=0.008),
    }

    def settle(self, asked: Options) -> Options:
        settled = super().settle(asked)
        if settled.precision == "int8" and (settled.opset or 0) < PER_CHANNEL:
            raise OptionError(f"--precision int8 needs --opset {PER_CHANNEL} or later (scales per channel)")
        return settled

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        import onnx

        plan = None
        if options.precision == "fp32":
            content = onnx_bytes(checkpoint, options)
            onnx.checker.check_model(content)
            path.write_bytes(content)
            return plan
        if options.precision == "int8":
            model, plan = int8(checkpoint, options, self.bounds["int8"], _loaded)
        else:
            model = _to_half(_loaded(checkpoint, options))
        onnx.helper.set_model_props(model, metadata_of(checkpoint, options))
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return plan

    def open(self, path: Path) -> Predictor:
        return Runtime(path)

    def open_on(self, path: Path, device: str) -> Predictor:
        return OnDevice(path, device)

    def lacks(self, device: str) -> str:
        return lacking(device)

    def write_to_run(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        path.write_bytes(onnx_bytes(checkpoint, options))

    def words_in(self, path: Path) -> Mapping[str, str]:
        return onnx_metadata.words_of(path)

    def read(self, path: Path) -> Checkpoint:
        return onnx_reader.read(path)


def _loaded(checkpoint: Checkpoint, options: Options) -> Any:
    """The model in float32, as the package `onnx` has it."""
    import onnx

    return onnx.load_model_from_string(onnx_bytes(checkpoint, options))


def _to_half(model: Any) -> Any:
    """Weights and arithmetic in float16; float32 still goes in and comes out."""
    unreported_onnxruntime()
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(model, keep_io_types=True, op_block_list=[]))
    half.topological_sort()  # the converter appends its casts at the end
    return half.model
