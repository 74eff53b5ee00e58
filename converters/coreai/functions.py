"""A program of Core AI as plain data: operations in the order in which they run, with what they take and make."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError
from u2net_zoo.limits import LARGEST

from ..mil.dtypes import DataType, unpack

__all__ = ["COMPRESSED", "YIELD", "Function", "Operation", "Value", "ValueType", "check"]

YIELD, CONSTANT = "yield_v1", "constant_v1"
# What weights of few bits go through.
COMPRESSED = ("lut_to_dense_v1", "blockwise_shift_scale_v2", "dequantize_v2")


@dataclass(frozen=True)
class ValueType:
    """Type of a value.

    Attributes:
        dtype: of its elements.
        shape: one entry for each axis, None where it is only known when the program runs.
    """

    dtype: DataType
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Value:
    """A value by its number in the function, and what it is said to be; None: no tensor."""

    number: int
    kind: ValueType | None


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        kind: as the file calls it, without dialect and family: `conv2d_v1`, `relu_v1`.
        operands: numbers of the values that it takes.
        attributes: texts and numbers by name; of a constant, `value`: whether its bytes are one element for all, and
            these bytes.
        results: what it makes.
        arguments, body: of a composite operation its own definition: what the operands are called in it, and its
            steps, the last of which takes the results.
    """

    kind: str
    operands: tuple[int, ...]
    attributes: Mapping[str, Any]
    results: tuple[Value, ...]
    arguments: tuple[int, ...] = ()
    body: tuple["Operation", ...] = ()

    @property
    def constant(self) -> bool:
        return self.kind == CONSTANT

    @property
    def bytes(self) -> int:
        """Of what it makes, in memory, where its sizes are known."""
        kinds = [value.kind for value in self.results if value.kind]
        return sum(kind.dtype.array.itemsize * prod(side or 0 for side in kind.shape) for kind in kinds)

    @property
    def stored(self) -> int:
        """Bytes of the constants that it is, or that stand in its definition."""
        return self.bytes if self.constant else sum(step.stored for step in self.body)

    def literal(self) -> np.ndarray:
        """Of a constant. Raises ArtifactError: its bytes do not fit its type."""
        kind = self.results[0].kind
        value = self.attributes.get("value")
        if kind is None or None in kind.shape or not isinstance(value, tuple) or not isinstance(value[0], bool):
            raise ArtifactError("a constant without a value or a shape")
        shape = tuple(side for side in kind.shape if side is not None)
        same, raw = value
        values = unpack(bytes(raw), kind.dtype, 1 if same else prod(shape))
        return np.full(shape, values[0]) if same else values.reshape(shape)

    def reads(self) -> frozenset[int]:
        """Numbers of the values that it takes, those that its body takes from outside included."""
        inside = {*self.arguments, *(value.number for step in self.body for value in step.results)}
        taken = {number for step in self.body for number in step.reads()} - inside
        return frozenset(taken | set(self.operands))


@dataclass(frozen=True)
class Function:
    """A function: its inputs and outputs by name, and its operations in the order in which they run.

    Attributes:
        outputs: numbers of the values that it answers.
    """

    name: str
    inputs: Mapping[str, Value]
    outputs: Mapping[str, int]
    operations: tuple[Operation, ...]

    def constants(self) -> dict[int, np.ndarray]:
        """Number -> value of every constant outside of definitions. Raises ArtifactError: one does not fit its type, or
        all of them, those in definitions included, are too large."""
        found: dict[int, np.ndarray] = {}
        size = 0
        for operation in self.operations:
            size += operation.stored
            if size > LARGEST:
                raise ArtifactError(f"its constants have more than {LARGEST} bytes; no U²-Net needs that")
            if operation.constant:
                found[operation.results[0].number] = operation.literal()
        return found


def check(function: Function) -> None:
    """That values exist when they are taken. Raises ArtifactError."""
    known = {value.number for value in function.inputs.values()}
    for operation in function.operations:
        missing = operation.reads() - known
        if missing:
            raise ArtifactError(f"{operation.kind} takes value {min(missing)}, which does not exist yet")
        if not operation.results:
            raise ArtifactError(f"{operation.kind} makes no value; what changes a state is not supported")
        _check_body(operation, (known,))
        known.update(value.number for value in operation.results)
    unknown = set(function.outputs.values()) - known
    if unknown:
        raise ArtifactError(f"answers value {min(unknown)}, which no operation makes")


def _check_body(operation: Operation, outside: tuple[set[int], ...]) -> None:
    """`outside`: the values around it, a set for each definition that it stands in. They are looked up and not copied,
    so that a large file takes no longer than its size."""
    if not operation.body:
        return
    own = set(operation.arguments)
    for step in operation.body:
        missing = [number for number in step.operands if not any(number in known for known in (own, *outside))]
        if missing:
            raise ArtifactError(f"{step.kind} in {operation.kind} takes value {min(missing)}, which does not exist yet")
        _check_body(step, (own, *outside))
        own.update(value.number for value in step.results)
