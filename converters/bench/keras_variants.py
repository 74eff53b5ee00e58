"""The native Keras 3 model on the backend that the process's `KERAS_BACKEND` names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..base import Predictor
from ..sources import read_source

__all__ = ["KerasVariant"]


class KerasVariant(Predictor):
    """The weights of `path` in Keras, folded, compiled where the backend compiles. Answers the mask alone."""

    outputs = ("mask",)

    def __init__(self, path: str, size: list[int]):
        import keras

        from u2net_zoo import keras_model

        self.size = (size[0], size[1])
        self.model = keras_model.build(read_source(path).fold(), size=self.size, outputs="mask")
        self.backend = keras.backend.backend()
        self.run = self._compiled()
        self.facts = {"backend": self.backend}

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"mask": np.ascontiguousarray(self._array(self.run(self._tensor(x))).transpose(0, 3, 1, 2))}

    def timed(self, x: np.ndarray) -> Callable[[], Any]:
        """One run on a tensor that is the backend's already; returns when it is done."""
        tensor = self._tensor(x)
        return lambda: self._array(self.run(tensor))

    def _compiled(self) -> Callable[[Any], Any]:
        if self.backend == "tensorflow":
            import tensorflow as tf

            return tf.function(lambda x: self.model(x, training=False))
        if self.backend == "jax":
            return self._jitted()
        import torch

        def run(x: Any) -> Any:
            with torch.inference_mode():
                return self.model(x, training=False)

        return run

    def _jitted(self) -> Callable[[Any], Any]:
        import jax

        trainable, frozen = ([v.value for v in part] for part in (
            self.model.trainable_variables, self.model.non_trainable_variables
        ))  # fmt: skip
        compiled = jax.jit(lambda weights, states, x: self.model.stateless_call(weights, states, x, training=False)[0])
        return lambda x: compiled(trainable, frozen, x)

    def _tensor(self, x: np.ndarray) -> Any:
        import keras

        return keras.ops.convert_to_tensor(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))

    def _array(self, value: Any) -> np.ndarray:
        import keras

        return np.asarray(keras.ops.convert_to_numpy(value))
