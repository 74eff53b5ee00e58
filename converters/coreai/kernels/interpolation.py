"""Resizing: a value sampled at a grid of points.

Point `i` of an axis lies at `(i + 1/2 - offset) / scale - 1/2` of the input, clipped to its ends.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...mil.ops.params import check_size, integers
from ...mil.ops.resize import between, bilinear
from .table import kernel


@kernel("interpolate_v1")
def interpolate(x: Tensor, shape: Tensor, scale: Tensor, offset: Tensor, *, interpolation_mode: str) -> Tensor:
    """Of every axis. Torch's own kernel where the last two axes have its half-pixel or its corner-aligned grid."""
    sizes = check_size(integers(shape))
    factors, offsets = (each.double().reshape(-1).tolist() for each in (scale, offset))
    if not len(sizes) == len(factors) == len(offsets) == x.ndim:
        raise ValueError(f"sizes {sizes} for a value of rank {x.ndim}")
    if not all(np.isfinite(factors)) or not all(np.isfinite(offsets)) or min(factors, default=1) <= 0:
        raise ValueError(f"scales {factors} and offsets {offsets}")
    known = _grid_of_torch(x, sizes, factors, offsets) if interpolation_mode == "linear" else None
    if known:
        return bilinear(x, (sizes[-2], sizes[-1]), known)
    for axis, (size, factor, away) in enumerate(zip(sizes, factors, offsets, strict=True)):
        if (size, factor, away) == (x.shape[axis], 1, 0):
            continue
        # Where a point lies halfway between two elements, float32's rounding decides which one is the nearest.
        precise = torch.float64 if interpolation_mode == "linear" else torch.float32
        points = (torch.arange(size, dtype=precise) + 0.5 - away) / factor - 0.5
        points = points.clamp(0, x.shape[axis] - 1).double()
        x = between(x, axis - x.ndim, points) if interpolation_mode == "linear" else _nearest(x, axis, points)
    return x


def _nearest(x: Tensor, axis: int, points: Tensor) -> Tensor:
    """Halves to the even one."""
    return x.index_select(axis, points.round().long())


def _grid_of_torch(x: Tensor, sizes: Sequence[int], factors: Sequence[float], offsets: Sequence[float]) -> str | None:
    """The name of Torch's grid that this one is; factors are stored in float32."""
    rows = list(zip(x.shape, sizes, factors, offsets, strict=True))
    if x.ndim != 4 or any((n, f, o) != (m, 1, 0) for n, m, f, o in rows[:2]):
        return None
    if all(f == np.float32(m / n) and o == 0 for n, m, f, o in rows[2:]):
        return "UNALIGN_CORNERS"
    return None
