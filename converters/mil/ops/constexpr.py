"""Compressed constants: what stands in a program instead of a weight, and how the weight is had from it.

Each op comes in the form of iOS 16, packed into bytes with its shape beside it, or of iOS 18, over packed element
types with the shape of the tensor; the parameters tell which. Values are computed in float32 and rounded once.
"""

from math import prod

import numpy as np
import torch
from torch import Tensor

from ..dtypes import BY_NAME, unpack
from ..registry import op
from .params import check_size, integer, integers

__all__ = ["affine", "look_up", "on_axis", "spread"]


@op("constexpr_cast")
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """float16 to float32."""
    if output_dtype != "fp32":
        raise ValueError(f"output_dtype {output_dtype!r}; only fp32 is known")
    return source_val.to(torch.float32)


@op("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor) -> Tensor:
    """scale (q - zero point), each one number or one per slice of `axis`."""
    return affine(quantized_data, scale, zero_point, axis)


@op("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """scale (data - offset), each scale and offset holding for a block of data."""
    shifted = data.float() if offset is None else data.float() - spread(offset.float(), data.shape)
    return shifted * spread(scale, data.shape)


@op("constexpr_lut_to_dense", exact=True)
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Tensor | None = None, vector_axis: Tensor | None = None
) -> Tensor:
    """Values by their index in a table.

    iOS 16: one table of 2^b values, indices packed at b bits, `shape`. iOS 18: lut (*blocks, 2^b, v), a table per
    block of indices; entries are vectors of v values that lie along `vector_axis` of the result.
    """
    if shape is None:
        return look_up(indices, lut, vector_axis)
    sizes = check_size(integers(shape))
    bits = _bits(lut.numel())
    places = unpack(indices.numpy().tobytes(), BY_NAME[f"uint{bits}"], prod(sizes))
    return lut[torch.from_numpy(places).long()].reshape(sizes)


@op("constexpr_sparse_to_dense", exact=True)
def constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Tensor | None = None) -> Tensor:
    """Values where the mask has ones, zero elsewhere. iOS 16: mask packed into bits; iOS 18: of the result's shape."""
    if shape is not None:
        sizes = check_size(integers(shape))
        mask = torch.from_numpy(unpack(mask.numpy().tobytes(), BY_NAME["uint1"], prod(sizes))).reshape(sizes)
    return _scatter(nonzero_data, mask)


@op("constexpr_lut_to_sparse", exact=True)
def constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mask and values of a sparse tensor whose values are indices into tables."""
    dense = look_up(_scatter(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask
    if vector_axis is not None:
        mask = mask.repeat_interleave(lut.shape[-1], integer(vector_axis))
    return mask, dense[mask != 0]


@op("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mask and values of a sparse tensor whose values are quantised by blocks."""
    dense = constexpr_blockwise_shift_scale(_scatter(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


def affine(data: Tensor, scale: Tensor, zero_point: Tensor | None, axis: Tensor | None) -> Tensor:
    """scale (data - zero point), in float32."""
    shifted = data.float() if zero_point is None else data.float() - on_axis(zero_point.float(), data, axis)
    return shifted * on_axis(scale, data, axis)


def on_axis(value: Tensor, data: Tensor, axis: Tensor | None) -> Tensor:
    """A number, or a vector along `axis` of `data`, so that it broadcasts with it."""
    if value.ndim == 0:
        return value
    place = integer(axis if axis is not None else 0) % max(1, data.ndim)
    if value.ndim != 1 or value.numel() not in (1, data.shape[place]):
        raise ValueError(f"{value.numel()} values for axis {place} of shape {tuple(data.shape)}")
    return value.reshape(-1, *[1] * (data.ndim - place - 1))


def _bits(entries: int) -> int:
    bits = entries.bit_length() - 1
    if entries != 1 << bits or bits not in (1, 2, 3, 4, 6, 8):
        raise ValueError(f"a table of {entries} values; 2, 4, 8, 16, 64 and 256 are possible")
    return bits


def look_up(indices: Tensor, lut: Tensor, vector_axis: Tensor | None) -> Tensor:
    """Values by their index; lut (*blocks, entries, v), with vectors of v values along `vector_axis` of the result."""
    if lut.ndim != indices.ndim + 2:
        raise ValueError(f"tables of rank {lut.ndim} for indices of rank {indices.ndim}")
    entries, width = lut.shape[-2:]
    blocks = spread(torch.arange(prod(lut.shape[:-2])).reshape(lut.shape[:-2]), indices.shape)
    if indices.numel() and int(indices.max()) >= entries:
        raise ValueError(f"index {int(indices.max())} into a table of {entries} values")
    found = lut.reshape(-1, width)[blocks * entries + indices.long()]
    if width == 1:
        return found[..., 0]
    if vector_axis is None:
        raise ValueError("tables of vectors without vector_axis")
    place = integer(vector_axis) % indices.ndim
    return found.movedim(-1, place + 1).flatten(place, place + 1)


def _scatter(values: Tensor, mask: Tensor) -> Tensor:
    chosen = mask != 0
    if values.ndim != 1 or int(chosen.sum()) != values.numel():
        raise ValueError(f"{values.numel()} values for {int(chosen.sum())} places in the mask")
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    dense[chosen] = values
    return dense


def spread(blocks: Tensor, shape: torch.Size) -> Tensor:
    """One value per block, repeated over the elements of its block."""
    if blocks.ndim != len(shape) or any(size % max(1, count) for size, count in zip(shape, blocks.shape, strict=True)):
        raise ValueError(f"blocks {tuple(blocks.shape)} do not divide {tuple(shape)}")
    places = [torch.from_numpy(np.arange(n) // (n // count)) for n, count in zip(shape, blocks.shape, strict=True)]
    for axis, place in enumerate(places):
        if blocks.shape[axis] not in (1, shape[axis]):
            blocks = blocks.index_select(axis, place)
    return blocks.expand(shape)
