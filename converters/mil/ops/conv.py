"""Convolutions of one to three spatial axes."""

import torch.nn.functional as F
from torch import Tensor

from ..registry import op
from .padding import add_padding, custom_padding, symmetric, window_padding
from .params import check_size, integer, integers

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@op("conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Tensor | None = None,
    pad_type: str = "valid",
    pad: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | int = 1,
) -> Tensor:
    """x (N, C_in, *D), weight (C_out, C_in / groups, *K), bias (C_out,)."""
    rank = x.ndim - 2
    steps, holes = integers(strides, [1] * rank), integers(dilations, [1] * rank)
    pairs = window_padding(pad_type, pad, list(x.shape[2:]), list(weight.shape[2:]), steps, holes)
    if symmetric(pairs):
        margins = [before for before, _ in pairs]
        check_size([*x.shape[:2], *(n + 2 * m for n, m in zip(x.shape[2:], margins, strict=True))])
        return CONV[rank](x, weight, bias, steps, margins, holes, integer(groups))
    return CONV[rank](add_padding(x, pairs), weight, bias, steps, 0, holes, integer(groups))


@op("conv_transpose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Tensor | None = None,
    output_shape: Tensor | None = None,
    pad_type: str = "valid",
    strides: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | int = 1,
) -> Tensor:
    """x (N, C_in, *D), weight (C_in, C_out / groups, *K); padding is cut from the full result.

    With `same` the result is D * stride long, else as long as `output_shape` says: beyond the full result it is zero
    (and the bias).
    """
    rank = x.ndim - 2
    steps, holes = integers(strides, [1] * rank), integers(dilations, [1] * rank)
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], holes, strict=True)]
    lengths = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], steps, kernel, strict=True)]
    check_size([x.shape[0], weight.shape[1] * integer(groups), *lengths])
    full = TRANSPOSED[rank](x, weight, None, steps, 0, 0, integer(groups), holes)
    starts, sizes = _cut(pad_type, pad, list(x.shape[2:]), lengths, steps)
    sizes = integers(output_shape)[2:] or sizes
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True), start=2):
        full = full.narrow(axis, start, min(size, full.shape[axis] - start))
    result = add_padding(full, [(0, size - have) for size, have in zip(sizes, full.shape[2:], strict=True)])
    return result if bias is None else result + bias.reshape(-1, *[1] * rank)


def _cut(
    pad_type: str, pad: Tensor | None, sizes: list[int], full: list[int], strides: list[int]
) -> tuple[list[int], list[int]]:
    """Where the result starts in the full one, and how long it is, along each axis."""
    kind = pad_type.lower()
    if kind == "same":
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
        return [max(0, have - want) // 2 for have, want in zip(full, wanted, strict=True)], wanted
    if kind not in ("valid", "custom"):
        raise ValueError(f"pad_type {pad_type!r}; there are: valid, same, custom")
    pairs = custom_padding(pad if kind == "custom" else None, len(full))
    return [before for before, _ in pairs], [n - a - b for n, (a, b) in zip(full, pairs, strict=True)]
