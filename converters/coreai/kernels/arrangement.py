"""Operations that move values about: shapes, order, pieces."""

from math import prod

import torch
from torch import Tensor

from ...mil.ops.params import axes_of, check_size, integer, integers
from ...mil.ops.shape import expand_dims
from .table import kernel


@kernel("reshape_v2", exact=True)
def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """One size may be -1: whatever is left."""
    sizes = integers(shape)
    known = prod(size for size in sizes if size >= 0)
    if sizes.count(-1) > 1 or min(sizes, default=0) < -1 or (-1 in sizes and (not known or x.numel() % known)):
        raise ValueError(f"{tuple(x.shape)} as {sizes}")
    return x.reshape([x.numel() // known if size == -1 else size for size in sizes])


@kernel("broadcast_in_dims_v1", exact=True)
def broadcast_in_dims(x: Tensor, sizes: Tensor, axes: Tensor) -> Tensor:
    """Axes of one element, repeated to these sizes."""
    shape = list(x.shape)
    for axis, size in zip(axes_of(axes, x.ndim), integers(sizes), strict=True):
        shape[axis] = size
    return x.expand(check_size(shape))


@kernel("broadcast_to_v1", exact=True)
def broadcast_to(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(check_size(integers(shape)))


@kernel("concat_v1", exact=True)
def concat(axis: Tensor, *parts: Tensor) -> Tensor:
    place = integer(axis)
    check_size([sum(part.shape[place] for part in parts), parts[0].numel() // max(1, parts[0].shape[place])])
    return torch.cat(parts, place)


@kernel("split_v1", exact=True)
def split(x: Tensor, sizes: Tensor, axis: Tensor) -> tuple[Tensor, ...]:
    """Into parts of one size, the last of which may be shorter, or of the given sizes."""
    parts = integers(sizes)
    return torch.split(x, parts[0] if sizes.ndim == 0 else parts, integer(axis))


@kernel("transpose_v1", exact=True)
def transpose(x: Tensor, order: Tensor) -> Tensor:
    return x.permute(axes_of(order, x.ndim))


kernel("expand_dims_v1", exact=True)(expand_dims)


@kernel("slice_v1", exact=True)
def slice_(x: Tensor, start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    """From `start` to before `end` along each axis, as Python does it."""
    for axis, (first, last, by) in enumerate(zip(integers(start), integers(end), integers(step), strict=True)):
        if by < 1:
            raise ValueError(f"steps of {by}")
        x = x.narrow(axis, *_span(x.shape[axis], first, last))
        x = x[(slice(None),) * axis + (slice(None, None, by),)] if by > 1 else x
    return x


def _span(size: int, first: int, last: int) -> tuple[int, int]:
    """Where a slice starts, and how long it is."""
    low, high, _ = slice(first, last).indices(size)
    return low, max(0, high - low)


@kernel("reverse_v1", exact=True)
def reverse(x: Tensor, axes: Tensor) -> Tensor:
    return x.flip(axes_of(axes, x.ndim))


@kernel("tile_v2", exact=True)
def tile(x: Tensor, times: Tensor) -> Tensor:
    counts = integers(times)
    check_size([x.numel(), *counts])
    return x.tile(counts)


@kernel("get_shape_v2", exact=True)
def get_shape(x: Tensor, *, to: torch.dtype) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int64).to(to)


@kernel("broadcast_shapes_v1", exact=True)
def broadcast_shapes(one: Tensor, other: Tensor) -> Tensor:
    """The shape that values of these two shapes have together."""
    return torch.tensor(torch.broadcast_shapes(integers(one), integers(other)), dtype=torch.int64)


@kernel("gather_nd_v1", exact=True)
def gather_nd(x: Tensor, indices: Tensor) -> Tensor:
    """indices (…, q): of each row the element, or the slice, that stands there in the first q axes."""
    places = indices.long()
    check_size([*places.shape[:-1], *x.shape[places.shape[-1] :]])
    return x[tuple(places[..., axis] for axis in range(places.shape[-1]))]
