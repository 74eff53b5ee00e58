"""Reductions over axes."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..registry import op
from .params import axes_of, flag, integer


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


Reduce = Callable[[Tensor, list[int], bool], Tensor]

EXACT: dict[str, Reduce] = {
    "reduce_max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
}
COMPUTED: dict[str, Reduce] = {
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "reduce_prod": _product,
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}


def _register(name: str, reduce: Reduce, exact: bool) -> None:
    @op(name, exact=exact)
    def reduction(x: Tensor, axes: Tensor | None = None, keep_dims: Tensor | bool = False) -> Tensor:
        """Over `axes`, all of them by default. Integers are reduced in float64 and cut towards zero."""
        over = axes_of(axes, x.ndim)
        if not over:
            return x  # Torch would reduce over every axis
        wide = x if exact or x.dtype.is_floating_point else x.double()
        return reduce(wide, over, flag(keep_dims)).to(x.dtype)


for _table, _exact in ((EXACT, True), (COMPUTED, False)):
    for _name, _reduce in _table.items():
        _register(_name, _reduce, _exact)


def _register_arg(name: str, arg: Callable[..., Tensor]) -> None:
    @op(name)
    def position(
        x: Tensor, axis: Tensor | int = -1, keep_dims: Tensor | bool = False, output_dtype: str = "int32"
    ) -> Tensor:
        """Index of the extreme value along one axis; the first of several (MIL leaves ties open)."""
        return arg(x, dim=integer(axis), keepdim=flag(keep_dims)).to(getattr(torch, output_dtype))


_register_arg("reduce_argmax", torch.argmax)
_register_arg("reduce_argmin", torch.argmin)
