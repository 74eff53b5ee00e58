"""Functions of two values, element by element, with NumPy's broadcasting."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..registry import op
from .params import check_size

# Integer division of MIL rounds down, also of negative numbers, and `mod` has the divisor's sign: as in Python.
SAME: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "floor_div": torch.floor_divide,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "sub": torch.sub,
}


def _register(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @op(name)
    def same(x: Tensor, y: Tensor) -> Tensor:
        check_size(torch.broadcast_shapes(x.shape, y.shape))
        return function(x, y)


for _name, _function in SAME.items():
    _register(_name, _function)


@op("real_div")
def real_div(x: Tensor, y: Tensor) -> Tensor:
    """x / y; of integers cut towards zero, their type being the result's too."""
    check_size(torch.broadcast_shapes(x.shape, y.shape))
    if x.dtype.is_floating_point:
        return x / y
    return torch.div(x, y, rounding_mode="trunc")


@op("select", exact=True)
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where cond, else b."""
    check_size(torch.broadcast_shapes(cond.shape, a.shape, b.shape))
    return torch.where(cond, a, b)
