"""Runs a built or loaded Keras model, of Keras 3 on any backend or of tf_keras, as fast as its backend can."""

from collections.abc import Callable
from typing import Any

import numpy as np

from u2net_zoo.keras_model import load_keras_module

__all__ = ["backend_of", "compiled", "eager", "finished", "on_gpu", "to_numpy"]


def backend_of(model: Any) -> str:
    """`tensorflow`, `jax` or `torch`: what computes a `keras.Model` or a `tf_keras.Model`."""
    if "tf_keras" in type(model).__module__:
        return "tensorflow"
    return str(load_keras_module("keras").backend.backend())


def on_gpu() -> bool:
    """Whether Keras 3's backend, Torch or JAX, computes on a GPU."""
    backend = load_keras_module("keras").backend.backend()
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "gpu")
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    return False


def eager(model: Any) -> Callable[[Any], Any]:
    """The model in inference, operation by operation; for Torch without what a gradient would need."""
    if backend_of(model) != "torch":
        return lambda x: model(x, training=False)
    import torch

    def run(x: Any) -> Any:
        with torch.inference_mode():
            return model(x, training=False)

    return run


def compiled(model: Any) -> Callable[[Any], Any]:
    """The model in inference as one graph of its backend; Keras on Torch has none and stays eager.

    The first call at a size builds the graph: seconds for U²-Net.
    """
    backend = backend_of(model)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(eager(model), reduce_retracing=True, autograph=False)  # it would leave files in /tmp
    if backend == "jax":
        return _jit(model)
    return eager(model)


def finished(value: Any) -> Any:
    """A backend's tensor when it is computed; nothing is copied. TensorFlow on the CPU returns no sooner by itself."""
    if hasattr(value, "block_until_ready"):
        return value.block_until_ready()  # JAX
    if getattr(value, "is_cuda", False):
        import torch

        torch.cuda.synchronize(value.device)
    return value


def to_numpy(value: Any) -> np.ndarray:
    """A backend's tensor (N, H, W, C), on any device, as an array."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _jit(model: Any) -> Callable[[Any], Any]:
    import jax

    trainable = [variable.value for variable in model.trainable_variables]
    frozen = [variable.value for variable in model.non_trainable_variables]
    run = jax.jit(lambda weights, states, x: model.stateless_call(weights, states, x, training=False)[0])
    return lambda x: run(trainable, frozen, x)
