"""Ops that give a value another shape, and ops that make one of a given shape."""

import torch
from torch import Tensor

from ..registry import op
from .params import axes_of, check_size, flag, integer, integers, several


@op("const", exact=True)
def const(val: Tensor) -> Tensor:
    return val


@op("shape", exact=True)
def shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


@op("reshape", exact=True)
def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """One entry may be -1; 0 keeps the size of the axis at the same place."""
    return x.reshape(reshaped(list(x.shape), integers(shape)))


def reshaped(old: list[int], new: list[int]) -> list[int]:
    if 0 in new and 0 not in old:
        if len(new) != len(old):
            raise ValueError(f"shape {new} keeps sizes of a value of rank {len(old)}")
        return [size or before for size, before in zip(new, old, strict=True)]
    return new


@op("transpose", exact=True)
def transpose(x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(integers(perm))


@op("expand_dims", exact=True)
def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Axes of size 1 at these places of the result."""
    for axis in sorted(axes_of(axes, x.ndim + axes.numel())):
        x = x.unsqueeze(axis)
    return x


@op("squeeze", exact=True)
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Without these axes of size 1, all such axes by default; axes of another size stay."""
    return x.squeeze(axes_of(axes, x.ndim))


@op("flatten2d", exact=True)
def flatten2d(x: Tensor, axis: Tensor | int = 1) -> Tensor:
    """A matrix: the axes before `axis` are its rows."""
    place = integer(axis) % x.ndim if x.ndim else 0
    return x.reshape(x.shape[:place].numel(), x.shape[place:].numel())


@op("depth_to_space", exact=True)
def depth_to_space(x: Tensor, block_size: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C / b², H b, W b); block offsets are the slowest part of C, as in TensorFlow."""
    n, c, h, w = x.shape
    b = integer(block_size)
    return x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@op("space_to_depth", exact=True)
def space_to_depth(x: Tensor, block_size: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C b², H / b, W / b), the inverse of `depth_to_space`."""
    n, c, h, w = x.shape
    b = integer(block_size)
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


@op("pixel_shuffle", exact=True)
def pixel_shuffle(x: Tensor, upscale_factor: Tensor) -> Tensor:
    """Torch's: block offsets are the fastest part of C."""
    return torch.nn.functional.pixel_shuffle(x, integer(upscale_factor))


@op("pixel_unshuffle", exact=True)
def pixel_unshuffle(x: Tensor, downscale_factor: Tensor) -> Tensor:
    return torch.nn.functional.pixel_unshuffle(x, integer(downscale_factor))


@op("tile", exact=True)
def tile(x: Tensor, reps: Tensor) -> Tensor:
    times = integers(reps)
    check_size([size * count for size, count in zip(x.shape, times, strict=True)])
    return x.tile(times)


@op("fill")
def fill(shape: Tensor, value: Tensor | float = 0.0) -> Tensor:
    return _full(integers(shape), value)


@op("fill_like")
def fill_like(ref_tensor: Tensor, value: Tensor | float = 0.0) -> Tensor:
    return _full(list(ref_tensor.shape), value)


def _full(sizes: list[int], value: Tensor | float) -> Tensor:
    number = torch.as_tensor(value)
    return torch.full(check_size(sizes), number.item(), dtype=number.dtype)


@op("range_1d")
def range_1d(end: Tensor, start: Tensor, step: Tensor) -> Tensor:
    """start, start + step … up to but without end."""
    first, last, by = (value.item() for value in (start, end, step))
    check_size([max(0, int((last - first) / by) + 1)])
    return torch.arange(first, last, by, dtype=end.dtype)


@op("one_hot")
def one_hot(
    indices: Tensor,
    one_hot_vector_size: Tensor,
    axis: Tensor | int = -1,
    on_value: Tensor | float = 1,
    off_value: Tensor | float = 0,
) -> Tensor:
    """A new axis, `on_value` at each index; nowhere for an index out of range."""
    size = integer(one_hot_vector_size)
    check_size([*indices.shape, size])
    place = integer(axis) % (indices.ndim + 1)
    along = torch.arange(size).reshape(-1, *[1] * (indices.ndim - place))
    return torch.where(indices.unsqueeze(place) == along, torch.as_tensor(on_value), torch.as_tensor(off_value))


@op("reshape_like", exact=True)
def reshape_like(
    x: Tensor, ref_tensors: list[Tensor], begins: list[Tensor], ends: list[Tensor], end_masks: list[Tensor]
) -> Tensor:
    """To the sizes of axes begin … end of each reference, one after another; a mask means up to the last."""
    sizes: list[int] = []
    for ref, begin, end, mask in zip(*map(several, (ref_tensors, begins, ends, end_masks)), strict=True):
        sizes += ref.shape[integer(begin) : None if flag(mask) else integer(end)]
    return x.reshape(sizes)
