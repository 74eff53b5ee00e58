"""Which function computes which op. To add an op: one function below `ops/`, one test case."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["REGISTRY", "Entry", "op"]


@dataclass(frozen=True)
class Entry:
    """How an op is computed.

    Attributes:
        function: takes MIL's parameters by name, as Torch tensors (strings as `str`); returns a tensor or a tuple.
        exact: it only moves or picks values, so float16 can go through as it is. Otherwise float16 arguments are
            widened to float32 before and the result is rounded to float16 after.
        parameters: names of the parameters that it knows.
    """

    function: Callable[..., Any]
    exact: bool
    parameters: frozenset[str]


REGISTRY: dict[str, Entry] = {}


def op(name: str, *, exact: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as MIL's op `name`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in REGISTRY:
            raise ValueError(f"op {name!r} is there twice")
        REGISTRY[name] = Entry(function, exact, frozenset(inspect.signature(function).parameters))
        return function

    return register
