"""Functions of one value, element by element."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..dtypes import BY_NAME
from ..registry import op
from .params import number

# Torch's function of the same meaning; `round` sends halves to even in both.
SAME: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "logical_not": torch.logical_not,
    "round": torch.round,
    "sign": torch.sign,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}

CASTS = ("bool", "fp16", "fp32", "int8", "int16", "int32", "uint8", "uint16")


def _register(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @op(name)
    def same(x: Tensor) -> Tensor:
        return function(x).to(torch.bool if name == "logical_not" else x.dtype)


for _name, _function in SAME.items():
    _register(_name, _function)


@op("identity", exact=True)
def identity(x: Tensor) -> Tensor:
    return x


@op("clip", exact=True)
def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return x.clamp(number(alpha), number(beta))


@op("threshold", exact=True)
def threshold(x: Tensor, alpha: Tensor) -> Tensor:
    """max(x, alpha)"""
    return x.clamp(min=number(alpha))


@op("inverse")
def inverse(x: Tensor, epsilon: Tensor | float = 1e-4) -> Tensor:
    return 1 / (x + epsilon)


@op("log")
def log(x: Tensor, epsilon: Tensor | float = 1e-45) -> Tensor:
    return torch.log(x + epsilon)


@op("rsqrt")
def rsqrt(x: Tensor, epsilon: Tensor | float = 1e-12) -> Tensor:
    return 1 / torch.sqrt(x + epsilon)


@op("cast")
def cast(x: Tensor, dtype: str) -> Tensor:
    """To a type named as in MIL. Floats are cut towards zero for integer types.

    What lies outside an integer type's range is clipped to it, as Arm's conversions do, and NaN becomes 0: MIL leaves
    both open, and Torch's own answers differ between processors.
    """
    if dtype not in CASTS:
        raise ValueError(f"dtype {dtype!r}; there are: {', '.join(CASTS)}")
    target = getattr(torch, BY_NAME[dtype].array.name)
    if target is torch.bool:
        return x != 0
    if target.is_floating_point:
        return x.to(target)
    info = torch.iinfo(target)
    if not x.dtype.is_floating_point:
        return x.to(torch.int64).clamp(info.min, info.max).to(target)
    whole = x.double().nan_to_num(nan=0.0).trunc()
    inner = whole.clamp(float(info.min), float(info.max) - 1)
    return torch.where(whole >= float(info.max), info.max, inner.to(torch.int64)).to(target)
