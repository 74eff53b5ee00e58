"""Slices, gathers, and padding of arbitrary axes."""

import torch
from torch import Tensor

from ..registry import op
from .padding import add_padding
from .params import check_size, integer, integers


@op("slice_by_index", exact=True)
def slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """x[begin:end:stride] on every axis, as in Python. Masks: from the start, to the end, index with `begin`."""
    rank = x.ndim
    starts, ends, steps = integers(begin), integers(end), integers(stride, [1] * rank)
    masks = [[bool(bit) for bit in integers(mask, [0] * rank)] for mask in (begin_mask, end_mask, squeeze_mask)]
    table = list(zip(starts, ends, steps, *masks, strict=True))
    for axis in reversed(range(rank)):
        first, last, step, from_start, to_end, single = table[axis]
        if single:
            x = x.select(axis, first)
            continue
        places = slice(None if from_start else first, None if to_end else last, step).indices(x.shape[axis])
        x = _take(x, axis, range(*places))
    return x


@op("slice_by_size", exact=True)
def slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """`size` elements from `begin` on every axis; -1: all that follow. A negative begin counts from the end."""
    for axis, (start, count) in enumerate(zip(integers(begin), integers(size), strict=True)):
        start += x.shape[axis] if start < 0 else 0
        x = x.narrow(axis, start, x.shape[axis] - start if count == -1 else count)
    return x


@op("crop", exact=True)
def crop(x: Tensor, crop_height: Tensor, crop_width: Tensor) -> Tensor:
    """Without so many rows at the top and bottom, and columns left and right."""
    for axis, (before, after) in ((-2, integers(crop_height)), (-1, integers(crop_width))):
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


@op("reverse", exact=True)
def reverse(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.flip(integers(axes, range(x.ndim)))


@op("gather", exact=True)
def gather(
    x: Tensor,
    indices: Tensor,
    axis: Tensor | int = 0,
    batch_dims: Tensor | int = 0,
    validate_indices: Tensor | bool = False,
) -> Tensor:
    """Slices of x along `axis`: x.shape[:axis] + indices.shape[batch_dims:] + x.shape[axis + 1:].

    Negative indices count from the end (up to iOS 16; later versions leave them open). Indices out of range are
    errors here, whether the program asks for that or not.
    """
    place, batch = integer(axis) % x.ndim, integer(batch_dims)
    wanted = indices.long()
    wanted = torch.where(wanted < 0, wanted + x.shape[place], wanted)
    check_size([*x.shape[:place], *wanted.shape[batch:], *x.shape[place + 1 :]])
    if batch == 0:
        return x.index_select(place, wanted.reshape(-1)).reshape(*x.shape[:place], *wanted.shape, *x.shape[place + 1 :])
    rows, picks = x.flatten(0, batch - 1), wanted.flatten(0, batch - 1)
    parts = [gather(row, pick, place - batch) for row, pick in zip(rows, picks, strict=True)]
    return torch.stack(parts).reshape(*x.shape[:batch], *parts[0].shape)


@op("gather_along_axis", exact=True)
def gather_along_axis(
    x: Tensor, indices: Tensor, axis: Tensor | int = 0, validate_indices: Tensor | bool = False
) -> Tensor:
    """Of the shape of `indices`, which replace the index on `axis`; the other axes are x's."""
    place = integer(axis) % x.ndim
    wanted = indices.long()
    return x.gather(place, torch.where(wanted < 0, wanted + x.shape[place], wanted))


@op("pad", exact=True)
def pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Tensor | float = 0.0) -> Tensor:
    """Of the last axes, before and after each; `reflect` leaves the edge out, `replicate` repeats it."""
    flat = integers(pad)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    if min(flat, default=0) < 0 or len(pairs) > x.ndim:
        raise ValueError(f"pad {flat} of a value of rank {x.ndim}")
    if mode == "constant":
        return add_padding(x, pairs, float(constant_val))
    if mode not in ("reflect", "replicate"):
        raise ValueError(f"mode {mode!r}; there are: constant, reflect, replicate")
    for axis, (before, after) in enumerate(pairs, start=x.ndim - len(pairs)):
        x = _extend(x, axis, before, after, mode)
    return x


def _extend(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    size = x.shape[axis]
    if max(before, after) > (size - 1 if mode == "reflect" else size):
        raise ValueError(f"{mode} padding ({before}, {after}) of an axis of size {size}")
    places = torch.arange(-before, size + after)
    if mode == "reflect":
        places = (size - 1) - (places.abs() - (size - 1)).abs()
    return x.index_select(axis, places.clamp(0, size - 1))


def _take(x: Tensor, axis: int, places: range) -> Tensor:
    if places.step == 1:
        return x.narrow(axis, places.start, len(places)) if len(places) else x.narrow(axis, 0, 0)
    return x.index_select(axis, torch.tensor(places, dtype=torch.long))
