"""Sizes that an MNN file works out from other sizes: where a map is resized to the size of another one.

They are known before the engine runs: a module that is exported with `size=like.shape[2:]` has Shape, StridedSlice and
Concat in its graph, on lists of a few numbers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .mnn_reader import Operation
from .mnn_schema import Kind, Parameter, Slice

__all__ = ["VALUES"]

RANK = 8  # numbers of a list, at most
FROM_ONNX = 1  # of a slice: from, to, axes and steps are what it takes
Known = Sequence[np.ndarray | None]


def _shape(op: Operation, given: Sequence[tuple[int, ...]], known: Known) -> np.ndarray | None:
    return np.array(given[0], "<i4") if len(given) == 1 else None


def _slice(op: Operation, given: Sequence[tuple[int, ...]], known: Known) -> np.ndarray | None:
    """A part of a list, every number by itself: other slices are not known."""
    table = op.given(Parameter.StridedSliceParam)
    masks = (Slice.begin_mask, Slice.end_mask, Slice.ellipsis_mask, Slice.new_axis_mask, Slice.shrink_axis_mask)
    if table.integer(Slice.source) != FROM_ONNX or any(table.integer(mask) for mask in masks):
        return None
    values, *rest = (value for value in known if value is not None)
    numbers = [int(each[0]) for each in rest if each.shape == (1,)]
    if values.ndim != 1 or len(known) != 1 + len(numbers) or not 2 <= len(numbers) <= 4:
        return None
    start, end, axis, step = (*numbers, *(0, 1)[len(numbers) - 2 :])
    return values[start:end] if axis == 0 and step == 1 else None


def _joined(op: Operation, given: Sequence[tuple[int, ...]], known: Known) -> np.ndarray | None:
    lists = [value for value in known if value is not None and value.ndim == 1 and value.dtype.kind == "i"]
    if len(lists) != len(known) or op.given(Parameter.Axis).integer(0) != 0:
        return None
    return np.concatenate(lists)


def _same(op: Operation, given: Sequence[tuple[int, ...]], known: Known) -> np.ndarray | None:
    return known[0] if len(known) == 1 and known[0] is not None and known[0].ndim == 1 else None


Value = Callable[[Operation, Sequence[tuple[int, ...]], Known], np.ndarray | None]
_BY_KIND: dict[Kind, Value] = {
    Kind.Shape: _shape,
    Kind.StridedSlice: _slice,
    Kind.Concat: _joined,
    Kind.Cast: _same,
}


def _limited(value: Value) -> Value:
    """Of lists that are all known, but for a map whose shape is asked for; of `RANK` numbers at most."""

    def known(op: Operation, given: Sequence[tuple[int, ...]], values: Known) -> np.ndarray | None:
        if op.kind != Kind.Shape and (not values or any(each is None or each.size > RANK for each in values)):
            return None
        found = value(op, given, values)
        return found if found is not None and 0 < found.size <= RANK else None

    return known


VALUES = {kind: _limited(value) for kind, value in _BY_KIND.items()}
"""Kind -> what an operation makes of (its inputs' shapes, their values where they are known), or None."""
