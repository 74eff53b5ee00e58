"""`mlmodel`: Core ML's old neural network, for apps that still run on iOS 14 (`--legacy`)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint

from ..embedded import metadata_of
from ..options import Options
from ..parity_report import Report
from ..predictor import Predictor
from . import coreml_reader
from .coreml_format import PictureOrTensor, converted, coremltools
from .coreml_metadata import CoreMLWords, describe_package
from .mlmodel_evaluator import Network

__all__ = ["MLModel"]


class MLModel(CoreMLWords):
    """iOS 14 is the first system whose neural networks upsample with half-pixel centres, as U²-Net does."""

    name = "mlmodel"
    title = "Core ML neural network"
    suffix = ".mlmodel"
    unit_bytes, writing_seconds = 182, 19
    own_notes = ("com.apple.coreml.",)
    extra = "coreml"
    packages = ("torch", "coremltools")
    choices = {
        "batch": (1,),
        "precision": ("fp32",),
        "outputs": ("mask", "all"),
        "io": ("image", "tensor"),
        "via": ("native",),
    }
    by_stride = True
    multiple = 32  # other sizes, or of a network with a larger stride, need factors that its layers lack

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        target = coremltools().target.iOS14
        package = converted(checkpoint, options, convert_to="neuralnetwork", minimum_deployment_target=target)
        package.user_defined_metadata.update(metadata_of(checkpoint, options))
        package.save(str(path))

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
        describe_package(path, checkpoint, options, report)

    def read(self, path: Path) -> Checkpoint:
        return coreml_reader.read(path)

    def evaluated(self) -> bool:
        return True

    def open(self, path: Path) -> Predictor:
        return _Evaluated(path)


class _Evaluated(PictureOrTensor):
    def __init__(self, path: Path):
        self.network = Network(coreml_reader.specification(path))
        super().__init__(path, self.network.inputs, self.network.outputs, self.network.metadata)

    def answers(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return self.network.evaluate({self.input: image})

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which they run, each after its ReLU."""
        layers = self.network.layers
        relus = {p.input[0]: p.output[0] for p in layers if p.activation.WhichOneof("NonlinearityType") == "ReLU"}
        convolutions = [p.output[0] for p in layers if p.WhichOneof("layer") == "convolution"]
        wanted = [relus.get(name, name) for name in convolutions]
        image = self.network.inputs[self.input].encode(self.given(x))
        values = dict(self.network.trace({self.input: image}, keep=wanted))
        return iter([(unit.path, values[name]) for unit, name in zip(arch.units(), wanted, strict=False)])
