"""A profile in TensorFlow's operations: pixels in, grey levels out."""

from typing import Any

import numpy as np

from ..embedded import EmbeddedPreprocessing, Ops

__all__ = ["tensorflow_function"]


def tensorflow_function(network: Any, embedded: EmbeddedPreprocessing) -> Any:
    """As `torch_module` with 8 bits, channels last: a function of (N, H, W, 3) uint8 that calls `network`."""
    import tensorflow as tf

    ops = _tensorflow_ops()

    def with_preprocessing(pixels: Any) -> Any:
        x = embedded.before(ops, tf.cast(pixels, tf.float32))
        return tf.cast(embedded.after(ops, network(x)), tf.uint8)

    return with_preprocessing


def _tensorflow_ops() -> Ops:
    import tensorflow as tf

    class TensorFlowOps:
        def peak(self, x: Any) -> Any:
            return tf.reduce_max(x, axis=(1, 2, 3), keepdims=True)

        def trough(self, x: Any) -> Any:
            return tf.reduce_min(x, axis=(1, 2, 3), keepdims=True)

        def at_least(self, x: Any, low: float) -> Any:
            return tf.maximum(x, low)

        def between(self, x: Any, low: float, high: float) -> Any:
            return tf.clip_by_value(x, low, high)

        def sigmoid(self, x: Any) -> Any:
            return tf.sigmoid(x)

        def per_channel(self, values: np.ndarray) -> Any:
            return tf.constant(values.reshape(1, 1, 1, -1))

        def largest_channel(self, x: Any) -> Any:
            return tf.expand_dims(tf.argmax(x, axis=3, output_type=tf.int32), 3)

    return TensorFlowOps()
