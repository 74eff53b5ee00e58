"""`mlmodel`: Core ML's old neural network, for apps that still run on iOS 14 (`--legacy`)."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError

from . import coreml_reader
from .baking import baking_of, read_baking
from .base import Format, Options, Predictor, check_input, input_layout
from .coreml_format import coreml_input, coreml_outputs, coremltools, levels
from .coreml_metadata import describe_package
from .mil.features import ImageFeature
from .neural_network import Network
from .onnx_format import exportable
from .proof import Report

__all__ = ["MLModel"]


class MLModel(Format):
    """iOS 14 is the first system whose neural networks upsample with half-pixel centres, as U²-Net does."""

    name = "mlmodel"
    title = "Core ML neural network"
    suffix = ".mlmodel"
    extra = "coreml"
    packages = ("torch", "coremltools")
    choices = {
        "batch": (1,),
        "precision": ("fp32",),
        "outputs": ("mask", "all"),
        "io": ("image", "tensor"),
        "via": ("native",),
    }
    multiple = 32  # odd sizes would need resizes by factors that its layers do not have

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        import torch

        ct = coremltools()
        baking = baking_of(checkpoint.arch, options)
        model = exportable(checkpoint, options, eight_bits=False)
        sample = torch.zeros(options.batch or 1, checkpoint.arch.in_ch, *(options.size or ()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = ct.convert(
                torch.jit.trace(model, sample, check_trace=False),
                inputs=[coreml_input(ct, checkpoint.arch.in_ch, options)],
                outputs=coreml_outputs(ct, checkpoint.arch, options),
                convert_to="neuralnetwork",
                minimum_deployment_target=ct.target.iOS14,
                skip_model_load=True,
            )
        baked = baking.to_metadata() if baking else {}
        package.user_defined_metadata.update({"architecture": checkpoint.arch.name, **checkpoint.meta, **baked})
        package.save(str(path))

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
        describe_package(path, checkpoint, options, report)

    def read(self, path: Path) -> Checkpoint:
        return coreml_reader.read(path)

    def run(self, path: Path) -> Predictor:
        return _Evaluated(path)


class _Evaluated(Predictor):
    def __init__(self, path: Path):
        self.network = Network(coreml_reader.specification(path))
        if len(self.network.inputs) != 1:
            raise ArtifactError(f"{path}: takes {len(self.network.inputs)} inputs; a U²-Net takes one")
        ((self.input, feature),) = self.network.inputs.items()
        picture = isinstance(feature, ImageFeature)
        self.outputs = tuple(self.network.outputs)
        self.baking = read_baking(self.network.metadata)
        if picture and self.baking is None:
            raise ArtifactError(f"{path}: takes pictures, and does not say which profile is in its graph")
        shape: Any = (1, 3, *feature.sizes.default) if picture else feature.sizes.default
        self.batch, self.size = input_layout(shape, path, channels_last=False)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        if not self.baking:
            return self.network.evaluate({self.input: x})
        mask = self.network.evaluate({self.input: np.ascontiguousarray(x[0].transpose(1, 2, 0))})[self.outputs[0]]
        return {"mask": levels(mask)}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which they run, each after its ReLU."""
        layers = self.network.layers
        relus = {p.input[0]: p.output[0] for p in layers if p.activation.WhichOneof("NonlinearityType") == "ReLU"}
        convolutions = [p.output[0] for p in layers if p.WhichOneof("layer") == "convolution"]
        wanted = [relus.get(name, name) for name in convolutions]
        values = dict(self.network.trace({self.input: x}, keep=wanted))
        return iter([(unit.path, values[name]) for unit, name in zip(arch.units(), wanted, strict=False)])
