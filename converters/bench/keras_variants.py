"""The native Keras 3 model on the backend that the process's `KERAS_BACKEND` names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from u2net_zoo import keras_model
from u2net_zoo.errors import OptionError

from ..formats import keras_runtime
from ..loading import read_source
from ..predictor import Predictor

__all__ = ["KerasVariant"]


class KerasVariant(Predictor):
    """The weights of `path` in Keras, folded, compiled where the backend compiles. Answers the mask alone.

    Args:
        size: (H, W).
        device: `cpu` or `cuda`, on which the backend has to be. Raises OptionError where it finds no GPU.
    """

    outputs = ("mask",)

    def __init__(self, path: str, size: list[int], device: str = "cpu"):
        self.size = (size[0], size[1])
        if device == "cuda" and not keras_runtime.on_gpu():
            raise OptionError("CUDA: Keras' backend finds no such device")
        self.model = keras_model.build(read_source(path).fold(), size=self.size, outputs="mask")
        self.run = keras_runtime.compiled(self.model)
        self.facts = {"backend": keras_runtime.backend_of(self.model)}

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        answer = keras_runtime.to_numpy(self.run(self._tensor(x)))
        return {"mask": np.ascontiguousarray(answer.transpose(0, 3, 1, 2))}

    def timed(self, x: np.ndarray) -> Callable[[], Any]:
        """One run on a tensor that is the backend's already, as is the answer; returns when it is computed."""
        tensor = self._tensor(x)
        return lambda: keras_runtime.finished(self.run(tensor))

    def _tensor(self, x: np.ndarray) -> Any:
        import keras

        return keras.ops.convert_to_tensor(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
