"""`openvino`: OpenVINO IR, converted by OpenVINO from the folded Torch model."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, OptionError, one_line

from ..format import Format, Lane
from ..mask_errors import MaskBound
from ..options import DYNAMIC, Options, describe
from ..predictor import TOGETHER, Predictor
from . import openvino_reader
from .layout import NCHW, Layout, check_input
from .onnx_graph import onnx_bytes
from .openvino_reports import unreported
from .traced_torch import exportable

__all__ = ["OpenVINO"]

GPU = "openvino:GPU"  # OpenVINO's own name stands behind the colon

BF16 = "converters.bench.openvino_variants:OpenVINOVariant"


class OpenVINO(Format):
    name = "openvino"
    title = "OpenVINO IR"
    suffix = "_openvino"
    unit_bytes, writing_seconds = 3800, 6
    also = (".xml",)
    is_folder = True
    marker = "model.xml"
    parts = {".bin": ".xml"}
    extra = "openvino"
    packages = ("torch", "openvino")
    running = ("openvino",)
    inner_values = False
    direct = True
    devices = {"cpu": "", GPU: "install the driver of an Intel GPU (Level Zero or OpenCL)"}
    lanes = (
        Lane("OpenVINO f32"),
        Lane("OpenVINO bf16", opener=BF16, arguments={"precision": "bf16"}, dtype="bfloat16"),
    )
    choices = {
        "batch": (DYNAMIC,),
        "precision": ("fp32", "fp16"),
        "outputs": ("mask", "all"),
        "io": ("tensor",),
        "via": ("native",),
    }
    # Measured on the small test network at 320, 2026-11-20: IoU 0.9993, MAE 2.2e-06.
    bounds = {"fp16": MaskBound(iou=0.98, mae=0.005)}
    # OpenVINO works out a resize's coordinates in float32, so a factor such as 65/5 costs digits that Torch keeps:
    # 5.4e-06 on a side output at 65x47 where Torch itself loses 7.6e-07, 2026-11-20. Whole factors cost nothing.
    multiple = 32

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        import torch

        arch = checkpoint.arch
        shape = (options.batch or 1, arch.in_ch, *(options.size or ()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of every size that is a constant, which is the aim
            traced = torch.jit.trace(exportable(checkpoint, options), torch.zeros(shape), check_trace=False)
            with unreported():
                import openvino

                model = openvino.convert_model(traced, example_input=torch.zeros(shape))
        model.reshape([options.batch or -1, *shape[1:]])
        model.inputs[0].get_tensor().set_names({"image"})
        for output, name in zip(model.outputs, arch.outputs, strict=False):
            output.get_tensor().set_names({name})
        model.set_rt_info(arch.name, ["u2net_zoo", "architecture"])
        path.mkdir()
        openvino.save_model(model, path / self.marker, compress_to_fp16=options.precision == "fp16")

    def check(self, checkpoint: Checkpoint, options: Options) -> None:
        super().check(checkpoint, options)
        least = checkpoint.arch.stride // POOL + 1
        if any(side < least for side in options.size or ()):  # OpenVINO pools no map of one pixel
            raise OptionError(
                f"format {self.name!r} cannot honour --size {describe(options.size)}: at least {least} on each side for"
                " this network"
            )

    def write_to_run(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        """By way of ONNX, which OpenVINO reads: without Torch, in a tenth of a second."""
        with unreported():
            import openvino

            model = openvino.Core().read_model(onnx_bytes(checkpoint, options))
            path.mkdir()
            openvino.save_model(model, path / self.marker, compress_to_fp16=False)

    def open(self, path: Path) -> Predictor:
        return _Runtime(self.xml_of(path))

    def open_on(self, path: Path, device: str) -> Predictor:
        return _Runtime(self.xml_of(path), device.partition(":")[2])

    def lacks(self, device: str) -> str:
        with unreported():
            import openvino

            found = openvino.Core().available_devices
        wanted = device.partition(":")[2]
        if any(each.split(".")[0] == wanted for each in found):  # several are GPU.0, GPU.1
            return ""
        return f"OpenVINO finds no {wanted}, it has: {', '.join(found)}; {self.devices[device]}"

    def read(self, path: Path) -> Checkpoint:
        return openvino_reader.read(self.xml_of(path))

    def files(self, path: Path) -> list[Path]:
        return [self.xml_of(path), self.xml_of(path).with_suffix(".bin")]

    def xml_of(self, path: Path) -> Path:
        return path / self.marker if path.is_dir() else path


class _Runtime(Predictor):
    """A model in OpenVINO.

    Args:
        path: an `.xml` file.
        device: OpenVINO's name of it; another than the processor gets several photographs at once.
    """

    def __init__(self, path: Path, device: str = "CPU"):
        try:
            openvino_reader.check(path)
            with unreported():
                import openvino

            # Without this hint OpenVINO computes in bfloat16 where the processor can: half the time, IoU 0.96.
            hint = {"INFERENCE_PRECISION_HINT": "f32"}
            self.model = openvino.Core().compile_model(str(path), device, hint)
        except Exception as error:  # openvino raises RuntimeError and others for damage
            raise ArtifactError(f"{path}: OpenVINO cannot load it ({one_line(error)})") from None
        shape = [d.get_length() if d.is_static else None for d in self.model.inputs[0].partial_shape]
        self.layout = Layout.of(shape, NCHW)
        self.batch, self.size = self.layout.sizes(shape, path)
        self.channels = self.layout.channels(shape)
        self.outputs = tuple(_name(output, n) for n, output in enumerate(self.model.outputs))
        self.together = TOGETHER if device != "CPU" and self.batch is None else 1

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        maps = self.model([self.layout.given(x)])
        return {name: self.layout.answered(np.array(maps[n])) for n, name in enumerate(self.outputs)}


def _name(output: Any, n: int) -> str:
    names = sorted(output.get_names())
    return names[0] if names else f"output{n}"
