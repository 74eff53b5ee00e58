"""TFLite files in TFLite's own interpreter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError, CheckpointError, one_line

from ..embedded import read_embedded, read_precision
from ..predictor import Predictor
from ..quantise.integer_network import Steps
from . import tflite_reader
from .layout import NHWC, Layout, check_input
from .tflite_metadata import notes

__all__ = ["TFLiteRuntime", "order_outputs"]


class TFLiteRuntime(Predictor):
    def __init__(self, path: Path):
        self.path = path
        try:
            tflite_reader.check(path)
        except CheckpointError as error:
            raise ArtifactError(f"{path}: {error}") from None
        self.interpreter = self._load()
        self.runner = self._runner(self.interpreter)
        given = list(self.runner.get_input_details().items())
        if len(given) != 1:
            raise ArtifactError(f"{path}: has {len(given)} inputs; a U²-Net has one")
        ((self.input, detail),) = given
        shape = [int(n) for n in detail["shape"]]
        words = notes(np.memmap(path, mode="r"))
        self.embedded, self.precision = read_embedded(words), read_precision(words)
        wanted = np.uint8 if self.embedded else np.float32
        self.steps = None if self.embedded else Steps.of(detail)
        if len(shape) != 4 or (detail["dtype"] is not wanted and self.steps is None):
            got = f"{detail['dtype'].__name__} of shape {shape}"
            raise ArtifactError(f"{path}: takes {got}; expected {wanted.__name__} pictures, or integers with a scale")
        self.takes = str(self.steps or "")
        self.layout = Layout.of(shape, NHWC)
        self.batch, self.size = self.layout.sizes(shape, path)
        self.channels = self.layout.channels(shape)
        answers = self.runner.get_output_details()
        self.outputs = order_outputs(answers)
        self.answered = {name: Steps.of(answers[name]) for name in self.outputs if not self.embedded}

    def _load(self, **options: Any) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(str(self.path), **options)
            interpreter.allocate_tensors()
        except Exception as error:  # a damaged flatbuffer raises ValueError, RuntimeError or TypeError
            raise ArtifactError(f"{self.path}: TFLite cannot load it ({one_line(error)})") from None
        return interpreter

    def _runner(self, interpreter: Any) -> Any:
        signatures = interpreter.get_signature_list()
        return interpreter.get_signature_runner(next(iter(signatures))) if signatures else _Unsigned(interpreter)

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        try:
            maps = self.runner(**{self.input: self.given(x)})
        except (RuntimeError, ValueError) as error:
            raise ArtifactError(f"{self.path}: TFLite cannot run it ({one_line(error)})") from None
        steps = {name: self.answered.get(name) for name in self.outputs}
        real = {name: each.real(maps[name]) if each else maps[name] for name, each in steps.items()}
        return {name: self.layout.answered(value) for name, value in real.items()}

    def given(self, x: np.ndarray) -> np.ndarray:
        """What the file takes for `x`, (N, C, H, W)."""
        given = self.layout.given(x)
        return self.steps.whole(given) if self.steps else given

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which the units run, each behind its ReLU; none where they are integers."""
        interpreter = self._load(experimental_preserve_all_tensors=True)
        self._runner(interpreter)(**{self.input: self.given(x)})
        for unit, index in zip(arch.units(), tflite_reader.activations(self.path), strict=False):
            value = interpreter.get_tensor(index)
            if value.dtype.kind != "f":
                return
            yield unit.path, self.layout.nchw(value)


class _Unsigned:
    """An interpreter of a file without signatures, called as a signature's runner is."""

    def __init__(self, interpreter: Any):
        self.interpreter = interpreter

    def get_input_details(self) -> dict[str, Any]:
        return {detail["name"]: detail for detail in self.interpreter.get_input_details()}

    def get_output_details(self) -> dict[str, Any]:
        return {detail["name"]: detail for detail in self.interpreter.get_output_details()}

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        for name, detail in self.get_input_details().items():
            self.interpreter.set_tensor(detail["index"], inputs[name])
        self.interpreter.invoke()
        outputs = self.get_output_details().items()
        return {name: self.interpreter.get_tensor(detail["index"]) for name, detail in outputs}


def order_outputs(names: Any) -> tuple[str, ...]:
    """`mask, side1, side2 …`: signatures come back sorted or hashed."""
    return tuple(sorted(names, key=lambda name: (name != "mask", len(name), name)))
