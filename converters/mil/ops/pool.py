"""Pooling over one to three spatial axes."""

from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import op
from .padding import Pairs, add_padding, symmetric, window_padding
from .params import flag, integers

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@op("max_pool", exact=True)
def max_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    pad_type: str,
    strides: Tensor | None = None,
    pad: Tensor | None = None,
    ceil_mode: Tensor | bool = False,
) -> Tensor:
    """x (N, C, *D); padding never wins. `ceil_mode` is Torch's: a window may hang over the end, but not start there."""
    kernel, steps, pairs = _window(x, kernel_sizes, strides, pad_type, pad)
    x, margins = _margins(x, kernel, pairs, flag(ceil_mode), -inf)
    return MAX[len(kernel)](x, kernel, steps, margins, ceil_mode=flag(ceil_mode))


@op("avg_pool")
def avg_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    pad_type: str,
    strides: Tensor | None = None,
    pad: Tensor | None = None,
    exclude_padding_from_average: Tensor | bool = False,
    ceil_mode: Tensor | bool = False,
) -> Tensor:
    """x (N, C, *D); padding counts as zeros, or not at all when it is excluded."""
    kernel, steps, pairs = _window(x, kernel_sizes, strides, pad_type, pad)
    pool, ceil, exclude = AVERAGE[len(kernel)], flag(ceil_mode), flag(exclude_padding_from_average)
    padded, margins = _margins(x, kernel, pairs, ceil, 0.0)
    result = pool(padded, kernel, steps, margins, ceil_mode=ceil, count_include_pad=not exclude)
    if exclude and padded is not x:  # Torch knows nothing of padding that was added by hand
        inside = add_padding(torch.ones_like(x), pairs)
        return result / pool(inside, kernel, steps, margins, ceil_mode=ceil)
    return result


def _window(
    x: Tensor, kernel_sizes: Tensor, strides: Tensor | None, pad_type: str, pad: Tensor | None
) -> tuple[list[int], list[int], Pairs]:
    kernel = integers(kernel_sizes)
    ones = [1] * len(kernel)
    steps = integers(strides, ones)
    return kernel, steps, window_padding(pad_type, pad, list(x.shape[2:]), kernel, steps, ones)


def _margins(x: Tensor, kernel: list[int], pairs: Pairs, ceil: bool, value: float) -> tuple[Tensor, list[int]]:
    """`x`, padded by hand where Torch cannot (unequal sides, more than half a kernel), and what is left for Torch."""
    if symmetric(pairs) and all(2 * before <= k for (before, _), k in zip(pairs, kernel, strict=True)):
        return x, [before for before, _ in pairs]
    if ceil:
        raise ValueError("ceil_mode with padding that is unequal or wider than half the kernel")
    return add_padding(x, pairs, value), [0] * len(kernel)
