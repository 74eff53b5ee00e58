"""Reductions over axes, which stay with one element each."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...mil.ops.params import axes_of, integer
from .table import kernel

Reduce = Callable[[Tensor, list[int]], Tensor]


def _product(x: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True)
    return x


EXACT: dict[str, Reduce] = {
    "reduce_max": lambda x, axes: x.amax(axes, keepdim=True),
    "reduce_min": lambda x, axes: x.amin(axes, keepdim=True),
}
COMPUTED: dict[str, Reduce] = {
    "reduce_mean": lambda x, axes: x.mean(axes, keepdim=True),
    "reduce_product": _product,
    "reduce_sum": lambda x, axes: x.sum(axes, keepdim=True),
}


def _register(name: str, reduce: Reduce, exact: bool) -> None:
    @kernel(f"{name}_v1", exact=exact)
    def reduction(x: Tensor, axes: Tensor) -> Tensor:
        places = axes_of(axes, x.ndim)
        return reduce(x, places) if places else x


for _table, _exact in ((EXACT, True), (COMPUTED, False)):
    for _name, _reduce in _table.items():
        _register(_name, _reduce, _exact)


COMBINED = {"maximum_v1": "reduce_max", "minimum_v1": "reduce_min", "add_v1": "reduce_sum", "mul_v1": "reduce_product"}


@kernel("reduce_v1")
def reduce_by(x: Tensor, axes: Tensor, _: Tensor, *, combine: str, turned: bool) -> Tensor:
    """By what makes one element of two; the element that it starts with changes nothing."""
    if combine not in COMBINED:
        raise ValueError(f"combined by {combine}; there are: {', '.join(sorted(COMBINED))}")
    return (EXACT | COMPUTED)[COMBINED[combine]](x, axes_of(axes, x.ndim))


@kernel("softmax_v1")
def softmax(x: Tensor, axis: Tensor) -> Tensor:
    return torch.softmax(x, integer(axis))


@kernel("argmax_v1")
def argmax(x: Tensor, axis: Tensor) -> Tensor:
    """The first of several; the axis stays, with one element."""
    return torch.argmax(x, integer(axis), keepdim=True)


@kernel("reduce_index_v1")
def reduce_index(x: Tensor, axis: Tensor, _: Tensor, __: Tensor, *, combine: str, turned: bool) -> Tensor:
    """Index of the element that no other beats: by `candidate > best`, or else by `best > candidate`."""
    if combine != "greater_v1":
        raise ValueError(f"compared by {combine}; there is: greater_v1")
    return (torch.argmax if turned else torch.argmin)(x, integer(axis), keepdim=True)
