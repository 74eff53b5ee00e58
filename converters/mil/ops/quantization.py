"""Quantisation of values while the program runs (iOS 17)."""

import torch
from torch import Tensor

from ..registry import op
from .constexpr import affine, on_axis

INTEGERS = {"int8": torch.int8, "uint8": torch.uint8}


@op("quantize")
def quantize(
    input: Tensor,
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: Tensor | None = None,
) -> Tensor:
    """clip(round(x / scale) + zero point), halves rounded to even."""
    if output_dtype not in INTEGERS:
        raise ValueError(f"output_dtype {output_dtype!r}; there are: {', '.join(INTEGERS)}")
    info = torch.iinfo(INTEGERS[output_dtype])
    scaled = torch.round(input / on_axis(scale, input, axis))
    shifted = scaled if zero_point is None else scaled + on_axis(zero_point.float(), input, axis)
    return shifted.clamp(info.min, info.max).to(INTEGERS[output_dtype])


@op("dequantize")
def dequantize(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    axis: Tensor | None = None,
) -> Tensor:
    """scale (x - zero point)"""
    return affine(input, scale, zero_point, axis)
