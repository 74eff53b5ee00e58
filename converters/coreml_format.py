"""`coreml`: an ML Program package (iOS 15 or later), converted by coremltools from the folded Torch model."""

import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, one_line

from . import coreml_reader, mil
from .base import Format, MaskBound, Options, Predictor, check_input, input_layout, output_names
from .onnx_format import exportable
from .quantise.coreml_weights import compressed
from .quantise.plan import Plan, plan_weights
from .quantise.rounding import BITS

__all__ = ["CoreML"]


class CoreML(Format):
    name = "coreml"
    title = "Core ML package"
    suffix = ".mlpackage"
    also = (".mlmodel",)
    is_folder = True
    marker = "Manifest.json"
    extra = "coreml"
    packages = ("torch", "coremltools")
    choices = {
        "batch": (1,),
        "precision": ("fp32", "fp16", *BITS),
        "outputs": ("mask", "all"),
        "io": ("tensor",),
        "via": ("native",),
    }
    # Measured on u2netp and 18 photographs that are not calibrated on, 2026-11-21: docs/quantisation.md. Weights that
    # are not on float16's grid lose up to 0.008 by that alone, so fp16 is not held to the 0.997 of those that are.
    bounds = {
        "fp16": MaskBound(iou=0.990, worst=0.975, mae=0.003),
        "int8": MaskBound(iou=0.990, worst=0.975, mae=0.005),
        "palette8": MaskBound(iou=0.990, worst=0.975, mae=0.005),
        "palette6": MaskBound(iou=0.985, worst=0.96, mae=0.01),
        "palette4": MaskBound(iou=0.95, worst=0.90, mae=0.03),
    }

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        import torch

        plan = None
        if options.precision in BITS:
            plan = plan_weights(checkpoint, options, self.bounds[options.precision], half=True)
            checkpoint = plan.checkpoint
        ct = _coremltools()
        names = output_names(checkpoint.arch, options)
        shape = (options.batch or 1, checkpoint.arch.in_ch, *(options.size or ()))
        model = exportable(checkpoint, options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(model, torch.zeros(shape), check_trace=False)
            package = ct.convert(
                traced,
                inputs=[ct.TensorType(name="image", shape=shape, dtype=np.float32)],
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in names],
                convert_to="mlprogram",
                compute_precision=ct.precision.FLOAT32 if options.precision == "fp32" else ct.precision.FLOAT16,
                minimum_deployment_target=ct.target.iOS16 if plan else ct.target.iOS15,
                skip_model_load=True,
            )
            package = compressed(package, plan) if plan else package
        package.user_defined_metadata.update({"architecture": checkpoint.arch.name, **checkpoint.meta})
        package.save(str(path))
        return plan

    def read(self, path: Path) -> Checkpoint:
        return coreml_reader.read(path)

    def run(self, path: Path) -> Predictor:
        """Core ML itself on macOS; elsewhere the program is evaluated op by op."""
        return _OnDevice(path) if sys.platform == "darwin" else _Evaluated(path)


class _Evaluated(Predictor):
    def __init__(self, path: Path):
        self.package = mil.Package.open(path)
        if len(self.package.inputs) != 1:
            raise ArtifactError(f"{path}: takes {len(self.package.inputs)} inputs; a U²-Net takes one")
        ((self.input, feature),) = self.package.inputs.items()
        self.batch, self.size = input_layout(feature.sizes.default, path, channels_last=False)
        self.outputs = tuple(self.package.outputs)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        return mil.evaluate(self.package, {self.input: x})

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which they run, each after its ReLU."""
        function = self.package.function
        convolutions = [op.name for op in function.operations if op.kind == "conv"]
        after = {
            name: [op.name for op in function.consumers.get(name, ()) if op.kind == "relu"] for name in convolutions
        }
        wanted = {(after[name] or [name])[0]: None for name in convolutions}
        values = mil.evaluate(self.package, {self.input: x}, taps=wanted)
        pairs = zip(arch.units(), wanted, strict=False)
        return iter([(unit.path, values[name].astype(np.float32)) for unit, name in pairs])


class _OnDevice(Predictor):
    def __init__(self, path: Path):
        ct = _coremltools()
        try:
            self.model = ct.models.MLModel(str(path))
        except Exception as error:  # coremltools wraps Apple's errors in RuntimeError and others
            raise ArtifactError(f"{path}: Core ML cannot load it ({one_line(error)})") from None
        description = self.model.get_spec().description
        shape = tuple(description.input[0].type.multiArrayType.shape)
        self.input, self.batch, self.size = description.input[0].name, shape[0], (shape[2], shape[3])
        self.outputs = tuple(output.name for output in description.output)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        maps = self.model.predict({self.input: x})
        return {name: maps[name] for name in self.outputs}


def _coremltools() -> Any:
    """coremltools, without its advice on the versions of other packages."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools

    return coremltools
