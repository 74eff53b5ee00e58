"""Compressed weights: what stands in a program instead of them, and how they are had from it."""

from torch import Tensor

from ...mil.ops.constexpr import look_up, on_axis, spread
from .table import kernel


@kernel("lut_to_dense_v1", exact=True)
def lut_to_dense(indices: Tensor, lut: Tensor, axis: Tensor) -> Tensor:
    """Values by their index in a table; lut (*blocks, 2^b, v), with vectors of v values along `axis`."""
    return look_up(indices, lut, axis)


@kernel("blockwise_shift_scale_v2")
def blockwise_shift_scale(data: Tensor, scale: Tensor, zero: Tensor, low: Tensor) -> Tensor:
    """scale (data - zero) + low, each of them holding for a block of data."""
    factor, shift, least = (spread(each.float(), data.shape) for each in (scale, zero, low))
    return (data.float() - shift) * factor + least


@kernel("dequantize_v2")
def dequantize(data: Tensor, scale: Tensor, zero: Tensor, low: Tensor, axis: Tensor) -> Tensor:
    """(data - zero) scale + low, each of them one number or one for each slice of `axis`."""
    factor, shift, least = (on_axis(each.float(), data, _one(axis)) for each in (scale, zero, low))
    return (data.float() - shift) * factor + least


def _one(axis: Tensor) -> Tensor | None:
    return axis if axis.numel() == 1 else None
