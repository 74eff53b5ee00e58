"""Parameters of ops, from the tensors that programs hold them in."""

from collections.abc import Iterable
from math import prod
from typing import Any

from torch import Tensor

from ..program import MAX_ELEMENTS

__all__ = ["axes_of", "check_size", "flag", "integer", "integers", "number", "several"]


def integers(value: Tensor | None, default: Iterable[int] = ()) -> list[int]:
    """A vector of integers; a scalar is a vector of one."""
    return list(default) if value is None else [int(item) for item in value.reshape(-1).tolist()]


def integer(value: Tensor | int) -> int:
    return int(value)


def number(value: Tensor | float) -> float:
    return float(value)


def flag(value: Tensor | bool) -> bool:
    return bool(value)


def several(value: Any) -> list[Tensor]:
    """A variadic parameter: a program with one value does not say that it could have been more."""
    return value if isinstance(value, list) else [value]


def axes_of(axes: Tensor | None, rank: int) -> list[int]:
    """Axes counted from the front; None: all of them.

    Raises:
        ValueError: one is out of range, or named twice.
    """
    found = [axis + rank if axis < 0 else axis for axis in integers(axes, range(rank))]
    if any(not 0 <= axis < rank for axis in found) or len(set(found)) != len(found):
        raise ValueError(f"axes {integers(axes)} of a value of rank {rank}")
    return found


def check_size(shape: Iterable[int]) -> tuple[int, ...]:
    """`shape`, when a result of it may be allocated: for ops whose results can be far larger than what they take.

    Raises:
        ValueError: it is negative somewhere, or larger than any value may be.
    """
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes) or prod(sizes) > MAX_ELEMENTS:
        raise ValueError(f"a result of shape {sizes}; at most {MAX_ELEMENTS} elements are allowed")
    return sizes
