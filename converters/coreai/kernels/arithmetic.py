"""Functions of each element by itself, of one value or of several."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...mil.ops.params import check_size
from .table import kernel

Two = Callable[[Tensor, Tensor], Tensor]
One = Callable[[Tensor], Tensor]


def _divide(x: Tensor, y: Tensor) -> Tensor:
    """Of integers cut towards zero."""
    return x / y if x.dtype.is_floating_point else torch.div(x, y, rounding_mode="trunc")


def _floor_divide(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


# Each comes as `add`, of values of one shape, and as `broadcasting_add`, with NumPy's broadcasting.
TWO: dict[str, Two] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "divide": _divide,
    "floor_divide": _floor_divide,
    "modulo": torch.fmod,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}
ONE: dict[str, One] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "log": torch.log,
    "rsqrt": torch.rsqrt,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "tan": torch.tan,
    "tanh": torch.tanh,
}
EXACT: dict[str, One] = {"relu": torch.relu, "round": torch.round, "not": torch.logical_not}


def _register_two(name: str, function: Two) -> None:
    @kernel(f"{name}_v1", f"broadcasting_{name}_v1")
    def of_two(x: Tensor, y: Tensor) -> Tensor:
        check_size(torch.broadcast_shapes(x.shape, y.shape))
        return function(x, y)


for _name, _two in TWO.items():
    _register_two(_name, _two)
for _name, _one in ONE.items():
    kernel(f"{_name}_v1")(_one)
for _name, _one in EXACT.items():
    kernel(f"{_name}_v1", exact=True)(_one)


@kernel("batch_matmul_v1", "broadcasting_batch_matmul_v1")
def batch_matmul(x: Tensor, y: Tensor) -> Tensor:
    check_size([*torch.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1]])
    return x @ y


@kernel("where_v1", "broadcasting_where_v1", exact=True)
def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where the condition holds, else y."""
    check_size(torch.broadcast_shapes(condition.shape, x.shape, y.shape))
    return torch.where(condition, x, y)


@kernel("cast_v1", exact=True)
def cast(x: Tensor, *, to: torch.dtype) -> Tensor:
    """To the declared type; floats are cut towards zero where it is one of integers."""
    return x != 0 if to == torch.bool else x.to(to)
