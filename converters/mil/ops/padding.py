"""Padding of sliding windows, shared by convolutions and pooling."""

import torch.nn.functional as F
from torch import Tensor

from .params import check_size, integers

__all__ = ["Pairs", "add_padding", "symmetric", "window_padding"]

Pairs = list[tuple[int, int]]


def window_padding(
    pad_type: str, pad: Tensor | None, sizes: list[int], kernel: list[int], strides: list[int], dilations: list[int]
) -> Pairs:
    """Padding (before, after) of each spatial axis.

    `same` and `same_lower` make the result ceil(size / stride) long; an odd remainder goes behind and before,
    respectively. `valid`: none. `custom`: what `pad` says.
    """
    kind = pad_type.lower()
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        return custom_padding(pad, len(sizes))
    if kind not in ("same", "same_lower"):
        raise ValueError(f"pad_type {pad_type!r}; there are: valid, same, same_lower, custom")
    pairs = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if kind == "same" else (large, small))
    return pairs


def custom_padding(pad: Tensor | None, rank: int) -> Pairs:
    flat = integers(pad, [0] * 2 * rank)
    if len(flat) != 2 * rank or min(flat, default=0) < 0:
        raise ValueError(f"pad {flat} for {rank} spatial axes")
    return list(zip(flat[::2], flat[1::2], strict=True))


def symmetric(pairs: Pairs) -> bool:
    return all(before == after for before, after in pairs)


def add_padding(x: Tensor, pairs: Pairs, value: float = 0.0) -> Tensor:
    """`x` with its last axes padded by a constant."""
    if not any(map(any, pairs)):
        return x
    lead = x.ndim - len(pairs)
    check_size([*x.shape[:lead], *(n + a + b for n, (a, b) in zip(x.shape[lead:], pairs, strict=True))])
    return F.pad(x, [size for pair in reversed(pairs) for size in pair], value=value)
