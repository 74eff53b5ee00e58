"""Convolutions, pooling, and the padding before them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...mil.ops.params import check_size, flag, integer, integers
from .table import kernel


@kernel("conv2d_v1")
def conv2d(x: Tensor, weight: Tensor, stride: Tensor, dilation: Tensor, groups: Tensor) -> Tensor:
    """x (N, C_in, H, W), weight (C_out, C_in / groups, h, w); nothing is padded here."""
    return F.conv2d(x, weight, None, integers(stride), 0, integers(dilation), integer(groups))


@kernel("max_pool_2d_v1", exact=True)
def max_pool_2d(x: Tensor, size: Tensor, stride: Tensor, dilation: Tensor, ceil_mode: Tensor) -> Tensor:
    """x (N, C, H, W). With `ceil_mode` a window may hang over the end."""
    return F.max_pool2d(x, integers(size), integers(stride), 0, integers(dilation), ceil_mode=flag(ceil_mode))


@kernel("sum_pool_2d_v1")
def sum_pool_2d(x: Tensor, size: Tensor, stride: Tensor, dilation: Tensor) -> Tensor:
    """x (N, C, H, W); the sums of windows: an average pooling times its window's area."""
    ones = torch.ones(x.shape[1], 1, *integers(size), dtype=x.dtype)
    return F.conv2d(x, ones, None, integers(stride), 0, integers(dilation), x.shape[1])


@kernel("pad_v1", exact=True)
def pad(x: Tensor, padding: Tensor, value: Tensor, *, padding_mode: str) -> Tensor:
    """`padding`: before and after each axis, the first axis first."""
    flat = integers(padding)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    if len(pairs) != x.ndim or min(flat, default=0) < 0:
        raise ValueError(f"padding {flat} for {x.ndim} axes")
    check_size(n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True))
    if padding_mode == "constant":
        return F.pad(x, [size for pair in reversed(pairs) for size in pair], value=value.item())
    for axis, pair in enumerate(pairs):
        x = x.index_select(axis, _places(x.shape[axis], *pair, padding_mode)) if any(pair) else x
    return x


def _places(n: int, before: int, after: int, mode: str) -> Tensor:
    """Which element of an axis of `n` stands at each place of the padded one."""
    most = {"reflect": n - 1, "replicate": max(before, after)}.get(mode, n)
    if max(before, after) > most or not n:
        raise ValueError(f"{mode} padding by {before} and {after} of an axis of {n}")
    i = torch.arange(-before, n + after)
    if mode == "replicate":
        return i.clamp(0, n - 1)
    if mode == "circular":
        return i % n
    last = 2 * n - 1 if mode == "symmetric" else 2 * n - 2  # where the mirror image of 0 stands
    i = i % (2 * n if mode == "symmetric" else max(1, 2 * n - 2))
    return torch.where(i < n, i, last - i)
