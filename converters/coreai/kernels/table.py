"""Which function computes which operation. To add one: one function in this folder, one test case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["KERNELS", "Kernel", "kernel"]


@dataclass(frozen=True)
class Kernel:
    """How an operation is computed.

    Attributes:
        function: takes the operands in the program's order, as Torch tensors, and the attributes by name; returns a
            tensor or a tuple.
        exact: it only moves or picks values, so float16 can go through as it is. Otherwise float16 is widened to
            float32 before, and the result is rounded once after.
    """

    function: Callable[..., Any]
    exact: bool


KERNELS: dict[str, Kernel] = {}


def kernel(*names: str, exact: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as the operations of these names, versions included."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            if name in KERNELS:
                raise ValueError(f"operation {name!r} is there twice")
            KERNELS[name] = Kernel(function, exact)
        return function

    return register
