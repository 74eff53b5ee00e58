"""A program's main function as plain data: operations in the order in which they run, with what they take and give."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError

from .dtypes import BY_PROTO, STRING, DataType, unpack
from .storage import WeightFile

__all__ = ["MAX_ELEMENTS", "Function", "Literal", "Operation", "ValueType", "decode"]

# No value of a program may be larger: 2 GiB of float32. The largest of u2net at 1024x1024 has 2^27 elements.
MAX_ELEMENTS = 1 << 29


@dataclass(frozen=True)
class ValueType:
    """Type of a value.

    Attributes:
        dtype: None for strings and lists.
        shape: one entry per axis, None where it is only known when the program runs.
    """

    dtype: DataType | None
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Literal:
    """A constant written in the program or in its weight file."""

    spec: Any
    file: WeightFile | None

    def value(self) -> Any:
        """A NumPy array, a string, or a list of either.

        Raises:
            ArtifactError: the constant's bytes do not fit its type.
        """
        spec = self.spec
        if spec.type.WhichOneof("type") == "listType":
            return [Literal(item, None).value() for item in spec.immediateValue.list.values]
        kind, shape = _type(spec.type), _fixed(spec.type)
        if kind.dtype is None:
            strings = list(spec.immediateValue.tensor.strings.values)
            return strings if shape else "".join(strings[:1])
        if self.file is not None:
            return self.file.read(spec.blobFileValue.offset, kind.dtype, prod(shape)).reshape(shape)
        return _immediate(spec.immediateValue.tensor, kind.dtype, shape)

    def check(self) -> None:
        """That a weight file holds the constant, without reading it."""
        if self.file is not None:
            kind = _type(self.spec.type)
            if kind.dtype is None:
                raise ArtifactError("text cannot be in a weight file")
            self.file.check(self.spec.blobFileValue.offset, kind.dtype, prod(_fixed(self.spec.type)))


Argument = str | Literal | tuple["str | Literal", ...]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        kind: MIL's name of the op: `conv`, `relu` …
        arguments: parameter to the name of a value, a constant, or several of these.
        outputs: name and type of each result.
    """

    kind: str
    arguments: Mapping[str, Argument]
    outputs: tuple[tuple[str, ValueType], ...]

    @property
    def name(self) -> str:
        return self.outputs[0][0] if self.outputs else self.kind

    @property
    def constant(self) -> bool:
        """Whether its result depends on no input of the model."""
        return self.kind == "const" or self.kind.startswith("constexpr_")

    def reads(self) -> tuple[str, ...]:
        """Names of the values that it takes, in the order of its parameters' names; `x` and `values` come first."""
        order = sorted(self.arguments, key=lambda key: (key not in ("x", "values"), key))
        bound = (self.arguments[key] for key in order)
        each = (item for argument in bound for item in (argument if isinstance(argument, tuple) else (argument,)))
        return tuple(dict.fromkeys(item for item in each if isinstance(item, str)))


@dataclass(frozen=True)
class Function:
    """A function: named inputs, operations, and the names of the values that it returns."""

    inputs: Mapping[str, ValueType]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]


def decode(spec: Any, weights: Any) -> Function:
    """The function of a MIL protobuf `Function`.

    Args:
        weights: called with the file name of a constant, returns its `WeightFile`.

    Raises:
        ArtifactError: the program is inconsistent: unknown types, values used before they exist, constants that the
            weight file does not hold.
    """
    block = spec.block_specializations.get(spec.opset)
    if block is None:
        raise ArtifactError(f"the program has no body for its opset {spec.opset!r}")
    inputs = {item.name: _type(item.type) for item in spec.inputs}
    function = Function(inputs, tuple(_operation(item, weights) for item in block.operations), tuple(block.outputs))
    _check(function)
    return function


def _operation(spec: Any, weights: Any) -> Operation:
    try:
        if spec.blocks:
            raise ArtifactError("control flow is not supported")
        arguments: dict[str, Argument] = {
            key: _literal(value, weights) for key, value in spec.attributes.items() if key != "name"
        }
        for key, value in spec.inputs.items():
            bound = tuple(_binding(item, weights) for item in value.arguments)
            arguments[key] = bound[0] if len(bound) == 1 else bound
        outputs = tuple((item.name, _type(item.type)) for item in spec.outputs)
    except ArtifactError as error:
        name = spec.outputs[0].name if spec.outputs else "?"
        raise ArtifactError(f"op {name!r} ({spec.type}): {error}") from error
    return Operation(spec.type, arguments, outputs)


def _binding(spec: Any, weights: Any) -> "str | Literal":
    return str(spec.name) if spec.WhichOneof("binding") == "name" else _literal(spec.value, weights)


def _literal(spec: Any, weights: Any) -> Literal:
    stored = spec.WhichOneof("value") == "blobFileValue"
    literal = Literal(spec, weights(spec.blobFileValue.fileName) if stored else None)
    literal.check()
    return literal


def _type(spec: Any) -> ValueType:
    if spec.WhichOneof("type") != "tensorType":
        return ValueType(None, ())
    tensor = spec.tensorType
    if tensor.dataType != STRING and tensor.dataType not in BY_PROTO:
        raise ArtifactError(f"unknown element type number {tensor.dataType}")
    shape = tuple(d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions)
    if prod(d for d in shape if d is not None) > MAX_ELEMENTS:
        raise ArtifactError(f"a value of shape {shape} is larger than {MAX_ELEMENTS} elements")
    return ValueType(BY_PROTO.get(tensor.dataType), shape)


def _fixed(spec: Any) -> tuple[int, ...]:
    shape = _type(spec).shape
    if any(size is None for size in shape):
        raise ArtifactError(f"a constant of unknown shape {shape}")
    return tuple(size for size in shape if size is not None)


def _immediate(tensor: Any, dtype: DataType, shape: tuple[int, ...]) -> np.ndarray:
    field = tensor.WhichOneof("value")
    if field is None or field == "strings":
        raise ArtifactError(f"a constant of {dtype.name} without numbers")
    values = getattr(tensor, field).values
    if field == "bytes":
        return unpack(values, dtype, prod(shape)).reshape(shape)
    if len(values) != prod(shape):
        raise ArtifactError(f"{len(values)} numbers for a constant of shape {shape}")
    return np.asarray(values).astype(dtype.array).reshape(shape)


def _check(function: Function) -> None:
    known: dict[str, bool] = dict.fromkeys(function.inputs, False)
    for operation in function.operations:
        for name in sorted(operation.reads()):
            if name not in known:
                raise ArtifactError(
                    f"op {operation.name!r} ({operation.kind}) takes {name!r}, which does not exist yet"
                )
            if operation.constant and not known[name]:
                raise ArtifactError(f"op {operation.name!r} ({operation.kind}) takes {name!r}, which is not constant")
        known.update(dict.fromkeys((name for name, _ in operation.outputs), operation.constant))
    missing = [name for name in function.outputs if name not in known]
    if missing:
        raise ArtifactError(f"the program returns {missing[0]!r}, which no operation computes")
