"""Batch norm at inference: an affine map per channel, and how it is folded into the convolution before it.

The one place with the formula. All in NumPy and in float64; what rounds, and to which type, is the caller's business.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .units import BN_EPS

__all__ = ["IDENTITY", "Affine", "batch_norm"]

# Leaves of a norm in the state dict, in the order of `batch_norm`, and their values in one that changes nothing: with
# them gamma / sqrt(var + eps) is 1 to within float32.
IDENTITY = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0 - BN_EPS}


@dataclass(frozen=True)
class Affine:
    """y = (x − mean) · scale + shift, per channel (C,) or with one number for all.

    Batch norm is one; so is a product with a constant, or a bias that stands alone.
    """

    scale: ArrayLike
    shift: ArrayLike
    mean: ArrayLike = 0.0

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """y of one value per channel (C,), float64."""
        scale, shift, mean = (np.asarray(value, np.float64) for value in (self.scale, self.shift, self.mean))
        return (np.asarray(x, np.float64) - mean) * scale + shift

    def folded_into(self, kernel: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(kernel, bias) of the convolution that computes what this map makes of the given one's results, float64.

        w' = w · scale, b' = (b − mean) · scale + shift

        Args:
            kernel: (O, …). bias: (O,); None: zeros.
        """
        channels = len(kernel)
        scale, shift, mean = (
            np.broadcast_to(np.asarray(value, np.float64).ravel(), (channels,))
            for value in (self.scale, self.shift, self.mean)
        )
        per_channel = Affine(scale, shift, mean)
        weights = kernel.astype(np.float64) * scale.reshape(channels, *[1] * (kernel.ndim - 1))
        return weights, per_channel(np.zeros(channels) if bias is None else bias)


def batch_norm(gamma: ArrayLike, beta: ArrayLike, mean: ArrayLike, var: ArrayLike, eps: float = BN_EPS) -> Affine:
    """Batch norm: (x − mean) · gamma / sqrt(var + eps) + beta."""
    scale = np.asarray(gamma, np.float64) / np.sqrt(np.asarray(var, np.float64) + eps)
    return Affine(scale, np.asarray(beta, np.float64), np.asarray(mean, np.float64))
