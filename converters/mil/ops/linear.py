"""Matrix products."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import op
from .params import check_size, flag


@op("linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (…, in), weight (out, in), bias (out,)."""
    return F.linear(x, weight, bias)


@op("matmul")
def matmul(x: Tensor, y: Tensor, transpose_x: Tensor | bool = False, transpose_y: Tensor | bool = False) -> Tensor:
    """Product of the last two axes, the others broadcast; a vector is a row on the left and a column on the right."""
    x = x.mT if flag(transpose_x) and x.ndim > 1 else x
    y = y.mT if flag(transpose_y) and y.ndim > 1 else y
    if x.ndim > 1 and y.ndim > 1:
        check_size([*torch.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1]])
    return torch.matmul(x, y)
