"""Resizing of the last two axes.

A resize samples the input at a grid of points; the modes differ in where point `i` of `m` lies on an input of `n`:

    STRICT_ALIGN_CORNERS  i (n - 1) / (m - 1)             0 when m is 1
    ALIGN_CORNERS         the same                        (n - 1) / 2 when m is 1
    DEFAULT               i n / m
    OFFSET_CORNERS        (i + 1/2) max(1, n - 1) / m
    UNALIGN_CORNERS       (i + 1/2) n / m - 1/2           half-pixel centres

clipped to 0 … n - 1. (MIL writes DEFAULT and OFFSET_CORNERS in a longer form, with the same values.)
"""

from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import op
from .params import check_size, flag, integer, integers, number

__all__ = ["between", "bilinear"]

GRIDS = ("ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "STRICT_ALIGN_CORNERS", "UNALIGN_CORNERS")


@op("upsample_bilinear")
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: Tensor | float = 1,
    scale_factor_width: Tensor | float = 1,
    align_corners: Tensor | bool = True,
    half_pixel_centers: Tensor | bool | None = None,
) -> Tensor:
    """To floor(size * factor); the grid follows from the sizes, not from the factors.

    `half_pixel_centers` (iOS 16) is `not align_corners` unless it is given; both at once mean nothing.
    """
    corners = flag(align_corners)
    centers = not corners if half_pixel_centers is None else flag(half_pixel_centers)
    if corners and centers:
        raise ValueError("align_corners and half_pixel_centers exclude each other")
    mode = "STRICT_ALIGN_CORNERS" if corners else "UNALIGN_CORNERS" if centers else "DEFAULT"
    return bilinear(x, _scale(x, scale_factor_height, scale_factor_width), mode)


@op("resize_bilinear")
def resize_bilinear(
    x: Tensor,
    target_size_height: Tensor | int = 1,
    target_size_width: Tensor | int = 1,
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    return bilinear(x, (integer(target_size_height), integer(target_size_width)), sampling_mode)


@op("upsample_nearest_neighbor", exact=True)
def upsample_nearest_neighbor(
    x: Tensor, scale_factor_height: Tensor | float = 1, scale_factor_width: Tensor | float = 1
) -> Tensor:
    """To floor(size * factor); pixel floor(i n / m), as TensorFlow's without half-pixel centres is lowered to it."""
    return _pick(x, _scale(x, scale_factor_height, scale_factor_width), centre=0.0)


@op("resize_nearest_neighbor", exact=True)
def resize_nearest_neighbor(x: Tensor, target_size_height: Tensor, target_size_width: Tensor) -> Tensor:
    """Pixel floor((i + 1/2) n / m), as TensorFlow's with half-pixel centres is lowered to it."""
    return _pick(x, (integer(target_size_height), integer(target_size_width)), centre=0.5)


@op("resize")
def resize(
    x: Tensor,
    shape: Tensor,
    resized_dims: Tensor,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """The last `resized_dims` axes to the last entries of `shape`; 0 keeps a size. (iOS 17.)

    NEAREST_NEIGHBOR with the default sampling mode picks what `resize_nearest_neighbor` does (TensorFlow's op is
    lowered to both); what it does with other modes is not documented, so they are refused.
    """
    count = integer(resized_dims)
    if not 1 <= count <= 2 or count > x.ndim:
        raise ValueError(f"resized_dims {count}; 1 and 2 are supported")
    last = list(x.shape[-2:]) if x.ndim > 1 else [1, *x.shape]
    wanted = integers(shape)[-count:]
    target = last[: 2 - count] + [new or old for new, old in zip(wanted, last[2 - count :], strict=True)]
    size = (target[0], target[1])
    if interpolation_mode == "LINEAR":
        return bilinear(x, size, sampling_mode)
    if interpolation_mode != "NEAREST_NEIGHBOR" or sampling_mode != "DEFAULT":
        raise ValueError(f"{interpolation_mode} with sampling mode {sampling_mode}")
    return _pick(x, size, centre=0.5)


def bilinear(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """x (…, H, W) of rank 2 or more, sampled at `size` points; Torch's own kernel where it has the mode."""
    if mode not in GRIDS:
        raise ValueError(f"sampling_mode {mode!r}; there are: {', '.join(GRIDS)}")
    check_size([*x.shape[:-2], *size])
    if mode in ("STRICT_ALIGN_CORNERS", "UNALIGN_CORNERS") and x.dtype.is_floating_point:
        planes = x if x.ndim == 4 else x.reshape(1, -1, *x.shape[-2:])
        result = F.interpolate(planes, size=size, mode="bilinear", align_corners=mode == "STRICT_ALIGN_CORNERS")
        return result.reshape(*x.shape[:-2], *size)
    for axis, m in zip((-2, -1), size, strict=True):
        n = x.shape[axis]
        x = between(x, axis, _grid(n, m, mode).clamp(0, n - 1))
    return x


def between(x: Tensor, axis: int, points: Tensor) -> Tensor:
    """Linear interpolation at points of one axis, float64 in 0 … n - 1; `axis` counts from the end."""
    n = x.shape[axis]
    low = points.floor().long()
    weight = (points - low).to(x.dtype if x.dtype.is_floating_point else torch.float32)
    weight = weight.reshape(-1, *[1] * (-1 - axis))
    below, above = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=n - 1))
    return (below * (1 - weight) + above * weight).to(x.dtype)


def _grid(n: int, m: int, mode: str) -> Tensor:
    i = torch.arange(m, dtype=torch.float64)
    if mode == "ALIGN_CORNERS" and m == 1:
        return torch.full((1,), (n - 1) / 2, dtype=torch.float64)
    if mode in ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS"):
        return i * (n - 1) / max(1, m - 1)
    if mode == "DEFAULT":
        return i * n / m
    if mode == "OFFSET_CORNERS":
        return (i + 0.5) * max(1, n - 1) / m
    return (i + 0.5) * n / m - 0.5


def _pick(x: Tensor, size: tuple[int, int], centre: float) -> Tensor:
    check_size([*x.shape[:-2], *size])
    for axis, m in zip((-2, -1), size, strict=True):
        n = x.shape[axis]
        points = (torch.arange(m, dtype=torch.float64) + centre) * n / m
        x = x.index_select(axis, points.floor().long().clamp(max=n - 1))
    return x


def _scale(x: Tensor, height: Tensor | float, width: Tensor | float) -> tuple[int, int]:
    """floor(size * factor). coremltools writes ratios a little too large, so that no pixel is lost to rounding."""
    return floor(number(height) * x.shape[-2]), floor(number(width) * x.shape[-1])
