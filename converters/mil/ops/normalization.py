"""Normalisations."""

import torch
from torch import Tensor

from ..registry import op
from .params import axes_of


@op("batch_norm")
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | float = 1e-5,
) -> Tensor:
    """x (N, C, *D), the others (C,)."""
    shape = (-1, *[1] * (x.ndim - 2))
    scale = torch.rsqrt(variance + epsilon)
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale
    shift = shift if beta is None else shift + beta
    return x * scale.reshape(shape) + shift.reshape(shape)


@op("instance_norm")
def instance_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Tensor | float = 1e-5
) -> Tensor:
    """x (N, C, *D), normalised over D."""
    shape = (-1, *[1] * (x.ndim - 2))
    result = _standardize(x, list(range(2, x.ndim)), epsilon)
    result = result if gamma is None else result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)


@op("layer_norm")
def layer_norm(
    x: Tensor,
    axes: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | float = 1e-5,
) -> Tensor:
    """Normalised over `axes`, all by default; gamma and beta have the shape of these axes."""
    over = axes_of(axes, x.ndim)
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    result = _standardize(x, over, epsilon)
    result = result if gamma is None else result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)


@op("l2_norm")
def l2_norm(x: Tensor, epsilon: Tensor | float = 1e-6) -> Tensor:
    """x over the root of (the sum of its squares over the last three axes + epsilon)."""
    over = list(range(x.ndim))[-3:]
    return x / torch.sqrt(x.square().sum(over, keepdim=True) + epsilon)


def _standardize(x: Tensor, axes: list[int], epsilon: Tensor | float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(axes, keepdim=True) + epsilon)
