"""Walks a program and computes each operation with Torch.

Arithmetic: what the program says. Where it says float32, float32. Where it says float16, each operation takes float16
values, computes in float32 and rounds its result to float16 once: what a float16 device does that accumulates in
float32. (Devices that accumulate in float16 lose more; the Neural Engine's inner workings are not documented.)

Memory: a value is dropped after the last operation that takes it. Constants are decoded once, when the
machine is made, and kept.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from u2net_zoo.errors import ArtifactError, UnknownNameError, UsageError, one_line

from .dtypes import DataType
from .ops import find
from .package import Package
from .program import MAX_ELEMENTS, Literal, Operation, ValueType
from .registry import Entry

__all__ = ["OP_ERRORS", "Machine", "narrowed", "shown_shape", "widened"]

# What an op computes in. Torch has next to no arithmetic for the wide unsigned types.
WIDER = {
    torch.float16: torch.float32,
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}
# What an op may raise on parameters that make no sense.
OP_ERRORS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError)


class Machine:
    """Evaluates one package; its constants are shared by all evaluations."""

    def __init__(self, package: Package):
        self.package = package
        self.function = package.function
        self.constants = self._constants()
        self.steps = tuple(operation for operation in self.function.operations if not operation.constant)
        self._last = {name: step for step, operation in enumerate(self.steps) for name in operation.reads()}

    def evaluate(self, inputs: Mapping[str, np.ndarray], taps: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """The model's outputs by name, as Core ML would return them.

        Args:
            inputs: one array per input. Multi-arrays: any real type, in an allowed shape. Images: uint8 (H, W, 3) in
                RGB order whatever order the model wants, uint8 (H, W) for greyscale, float16 (H, W) for float16
                greyscale.
            taps: names of intermediate values to return as well, in the type in which the program holds them.

        Raises:
            UsageError: an input is missing, unknown, or of a shape or type that the model does not take.
            ArtifactError: the program cannot be evaluated: an op that is not there (with the list of those that are),
                or one whose parameters make no sense.
        """
        wanted = tuple(taps)
        self._check_taps(wanted)
        keep = {*wanted, *self.function.outputs}
        env: dict[str, Any] = {}
        for _ in self._walk(self._encode(inputs), keep, env):
            pass
        found = {name: _array(self.constants.get(name, env.get(name))) for name in keep}
        answers = {name: feature.decode(found[name]) for name, feature in self.package.outputs.items()}
        return answers | {name: found[name] for name in wanted if name not in answers}

    def trace(self, inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """(name, value) of every operation's results, as they are computed; raises what `evaluate` raises."""
        for name, value in self._walk(self._encode(inputs), set(), {}):
            yield name, _array(value)

    def _encode(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        unknown = [name for name in inputs if name not in self.package.inputs]
        if unknown:
            raise UnknownNameError("input", unknown[0], self.package.inputs)
        missing = [name for name in self.function.inputs if name not in inputs]
        if missing:
            raise UsageError(f"input {missing[0]!r} is missing; the model takes: {', '.join(self.package.inputs)}")
        env = {}
        for name, kind in self.function.inputs.items():
            array = self.package.inputs[name].encode(inputs[name])
            if kind.dtype is None:
                raise ArtifactError(f"input {name!r} is no tensor in the program")
            env[name] = torch.from_numpy(np.ascontiguousarray(array).astype(kind.dtype.array))
            self._check(name, kind, env[name])
        return env

    def _walk(self, given: dict[str, Any], keep: set[str], env: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        entries = [self._entry(operation) for operation in self.steps]  # an unknown op ends this before it starts
        env.update(given)
        for step, (operation, entry) in enumerate(zip(self.steps, entries, strict=True)):
            results = self._apply(operation, entry, env)
            env.update(results)
            for name in operation.reads() | results.keys():
                if self._last.get(name, step) == step and name not in keep:
                    env.pop(name, None)
            yield from results.items()

    def _constants(self) -> dict[str, Any]:
        operations = [operation for operation in self.function.operations if operation.constant]
        used = {name for operation in self.function.operations if not operation.constant for name in operation.reads()}
        found: dict[str, Any] = {}
        for operation in operations:
            found.update(self._apply(operation, self._entry(operation), found))
        return {name: value for name, value in found.items() if name in used or name in self.function.outputs}

    def _entry(self, operation: Operation) -> Entry:
        try:
            return find(operation.kind)
        except ArtifactError as error:
            raise ArtifactError(f"{self.package.path.name}: {error}") from error

    def _apply(self, operation: Operation, entry: Entry, env: dict[str, Any]) -> dict[str, Any]:
        """The results of one operation, by name."""
        try:
            arguments = {key: self._argument(value, env) for key, value in operation.arguments.items()}
            _check_parameters(arguments, entry)
            if not entry.exact:
                arguments = {key: widened(value) for key, value in arguments.items()}
            results = entry.function(**arguments)
            results = results if isinstance(results, tuple) else (results,)
            if len(results) != len(operation.outputs):
                raise ArtifactError(f"{len(operation.outputs)} results are declared, {len(results)} are computed")
            pairs = zip(operation.outputs, results, strict=True)
            return {name: self._check(name, kind, _round(value, kind.dtype)) for (name, kind), value in pairs}
        except (ArtifactError, *OP_ERRORS) as error:
            what = str(error) if isinstance(error, ArtifactError) else one_line(error)
            raise ArtifactError(
                f"{self.package.path.name}: op {operation.name!r} ({operation.kind}): {what}"
            ) from error

    def _argument(self, argument: Any, env: dict[str, Any]) -> Any:
        if isinstance(argument, tuple):
            return [self._argument(item, env) for item in argument]
        if isinstance(argument, Literal):
            return _tensors(argument.value())
        return env[argument] if argument in env else self.constants[argument]

    @staticmethod
    def _check(name: str, kind: ValueType, value: Any) -> Any:
        """`value`, when it is what the program declares; axes that it leaves open may have any size."""
        if not isinstance(value, torch.Tensor) or kind.dtype is None:
            return value
        if value.numel() > MAX_ELEMENTS:
            raise ArtifactError(f"{name!r} of shape {tuple(value.shape)} is larger than {MAX_ELEMENTS} elements")
        declared = torch.from_numpy(np.empty(0, kind.dtype.array)).dtype
        fits = len(kind.shape) == value.ndim and all(
            a in (None, b) for a, b in zip(kind.shape, value.shape, strict=True)
        )
        if value.dtype != declared or not fits:
            raise ArtifactError(
                f"{name!r} is declared {kind.dtype.name} {shown_shape(kind.shape)}, "
                f"but is {str(value.dtype).removeprefix('torch.')} {shown_shape(value.shape)}"
            )
        return value

    def _check_taps(self, taps: tuple[str, ...]) -> None:
        known = {name for operation in self.steps for name, _ in operation.outputs}
        for name in taps:
            if name not in known:
                raise UnknownNameError("value", name, known)


def _check_parameters(arguments: Mapping[str, Any], entry: Entry) -> None:
    for name in arguments:
        if name not in entry.parameters:
            raise ArtifactError(f"unknown parameter {name!r}; known: {', '.join(sorted(entry.parameters))}")


def _tensors(value: Any) -> Any:
    if isinstance(value, list):
        return [_tensors(item) for item in value]
    return value if isinstance(value, str) else torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape))


def _array(value: Any) -> np.ndarray:
    """A NumPy array of `value`; it may share its memory, which no later operation writes to."""
    return value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def widened(value: Any) -> Any:
    """A value, or a list of them, in the type in which an op that is not exact computes."""
    if isinstance(value, list):
        return [widened(item) for item in value]
    if isinstance(value, torch.Tensor) and value.dtype in WIDER:
        return value.to(WIDER[value.dtype])
    return value


def _round(value: Any, dtype: DataType | None) -> Any:
    if not isinstance(value, torch.Tensor) or dtype is None:
        return value
    return narrowed(value, torch.from_numpy(np.empty(0, dtype.array)).dtype)


def narrowed(value: torch.Tensor, declared: torch.dtype) -> torch.Tensor:
    """`value` in the declared type, when that is narrower than what the op computed in."""
    return value.to(declared) if WIDER.get(declared) == value.dtype else value


def shown_shape(shape: Iterable[int | None]) -> str:
    """`(1, ?, 3)`."""
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
