"""Walks a program and computes each operation with Torch.

Arithmetic: what the program says. Where it says float32, float32. Where it says float16, each operation takes float16
values, computes in float32 and rounds its result to float16 once, as `mil.evaluator` does for ML Programs.

A composite operation (`relu`, `sigmoid`, `broadcasting_add` …) is computed by what it means, or, where nothing here
knows it or the definitions are asked for, by the definition that stands in the program itself.

Memory: a value is dropped after the last operation that takes it. Constants are decoded once, and kept.
"""

from collections import ChainMap
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from u2net_zoo.errors import ArtifactError, UnknownNameError, UsageError, one_line
from u2net_zoo.limits import LARGEST

from ..mil.evaluator import OP_ERRORS, narrowed, shown_shape, widened
from ..mil.program import MAX_ELEMENTS
from .asset import Asset
from .functions import COMPRESSED, YIELD, Function, Operation, ValueType
from .kernels import KERNELS, Kernel

__all__ = ["Interpreter", "supported"]

TYPED = ("cast_v1", "get_shape_v2")  # what they compute depends on the declared type
Values = dict[int, torch.Tensor]


def supported() -> tuple[str, ...]:
    """Names of the operations that can be evaluated, with their versions, sorted."""
    return tuple(sorted(KERNELS))


class Interpreter:
    """Evaluates one asset's function.

    Args:
        by_definition: composite operations are computed by their own definitions.

    Raises:
        ArtifactError: the program has an operation that cannot be evaluated (named, with the list of those that can),
            or a constant that does not fit its type.
    """

    def __init__(self, asset: Asset, by_definition: bool = False):
        self.asset, self.by_definition = asset, by_definition
        self.function: Function = asset.function
        self._check_kinds(self.function.operations)
        self.constants = self._folded()
        self.steps = tuple(each for each in self.function.operations if each.results[0].number not in self.constants)
        self._last = {number: step for step, each in enumerate(self.steps) for number in each.reads()}

    def evaluate(self, inputs: Mapping[str, np.ndarray], taps: Iterable[int] = ()) -> dict[Any, np.ndarray]:
        """The outputs by name, and the values of the numbers `taps`, in the types in which the program holds them.

        Args:
            inputs: one array for each input, of a real type, in a shape that the program takes.

        Raises:
            UsageError: an input is missing, unknown, or of a shape that the program does not take.
            ArtifactError: an operation's parameters make no sense.
        """
        wanted = dict.fromkeys(taps)
        keep = {*wanted, *self.function.outputs.values()}
        env = self.constants | self._given(inputs)
        for step, operation in enumerate(self.steps):
            env.update(self._apply(operation, env))
            for number in operation.reads() | {value.number for value in operation.results}:
                if self._last.get(number, step) == step and number not in keep:
                    env.pop(number, None)
        answers = {name: env[number].numpy() for name, number in self.function.outputs.items()}
        return {**answers, **{number: env[number].numpy() for number in wanted}}

    def _folded(self) -> Values:
        """The constants, and what is computed of them alone: weights that are stored in few bits."""
        try:
            stored = self.function.constants()
        except ArtifactError as error:
            raise ArtifactError(f"{self.asset.path.name}: {error}") from None
        found = {number: torch.from_numpy(np.require(each, requirements=["C", "W"])) for number, each in stored.items()}
        size = 0
        for operation in self.function.operations:
            if operation.kind in COMPRESSED and operation.reads() <= found.keys():
                size += operation.bytes
                if size > LARGEST:
                    raise ArtifactError(f"{self.asset.path.name}: weights of more than {LARGEST} bytes")
                found.update(self._apply(operation, found))
        return found

    def _given(self, inputs: Mapping[str, np.ndarray]) -> Values:
        for name in inputs:
            if name not in self.function.inputs:
                raise UnknownNameError("input", name, self.function.inputs)
        found = {}
        for name, value in self.function.inputs.items():
            if name not in inputs:
                raise UsageError(f"input {name!r} is missing; the model takes: {', '.join(self.function.inputs)}")
            if value.kind is None:
                raise ArtifactError(f"{self.asset.path.name}: input {name!r} is no tensor")
            array = np.ascontiguousarray(inputs[name]).astype(value.kind.dtype.array)
            if not _fits(value.kind, array.shape):
                raise UsageError(f"input {name!r}: got {array.shape}; allowed: {shown_shape(value.kind.shape)}")
            found[value.number] = torch.from_numpy(array)
        return found

    def _check_kinds(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if operation.kind in KERNELS or operation.constant or operation.kind == YIELD:
                continue
            if not operation.body:
                known = ", ".join(supported())
                raise ArtifactError(
                    f"{self.asset.path.name}: operation {operation.kind!r} is not supported; there are: {known}"
                )
            self._check_kinds(operation.body)

    def _apply(self, operation: Operation, env: Mapping[int, torch.Tensor]) -> Values:
        kernel = KERNELS.get(operation.kind)
        try:
            if operation.body and (kernel is None or self.by_definition):
                results = self._defined(operation, env)
            else:
                results = self._computed(operation, kernel, env)
            if len(results) != len(operation.results):
                raise ArtifactError(f"{len(operation.results)} results are declared, {len(results)} are computed")
            pairs = zip(operation.results, results, strict=True)
            return {value.number: _checked(value.kind, result) for value, result in pairs}
        except (ArtifactError, *OP_ERRORS) as error:
            what = str(error) if isinstance(error, ArtifactError) else one_line(error)
            if what.startswith(self.asset.path.name):
                raise ArtifactError(what) from error
            raise ArtifactError(f"{self.asset.path.name}: {operation.kind}: {what}") from error

    def _computed(
        self, operation: Operation, kernel: Kernel | None, env: Mapping[int, torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        if operation.constant:
            return (torch.from_numpy(operation.literal()),)
        if kernel is None:
            raise ArtifactError("is not supported")
        taken = [env[number] for number in operation.operands]
        words = dict(operation.attributes)
        if operation.kind in TYPED:
            words["to"] = _declared(operation.results[0].kind)
        results = kernel.function(*(_wide(value, kernel.exact) for value in taken), **words)
        return results if isinstance(results, tuple) else (results,)

    def _defined(self, operation: Operation, env: Mapping[int, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """By the definition in the program, which may take values from outside of it."""
        taken = (env[number] for number in operation.operands)
        own = dict(zip(operation.arguments, taken, strict=True))
        inside = ChainMap(own, env)  # type: ignore[arg-type]
        last = {number: n for n, step in enumerate(operation.body) for number in step.reads()}
        for n, step in enumerate(operation.body[:-1]):
            own.update(self._apply(step, inside))
            for number in step.reads() | {value.number for value in step.results}:
                if last.get(number, n) == n:
                    own.pop(number, None)
        return tuple(inside[number] for number in operation.body[-1].operands)


def _wide(value: torch.Tensor, exact: bool) -> torch.Tensor:
    """What is computed with: float16 stays as it is where it is only moved. Torch has next to nothing for the wide
    unsigned types."""
    return value if exact and value.dtype == torch.float16 else widened(value)


def _declared(kind: ValueType | None) -> torch.dtype:
    if kind is None:
        raise ArtifactError("a result that is no tensor")
    return torch.from_numpy(np.empty(0, kind.dtype.array)).dtype


def _fits(kind: ValueType, shape: tuple[int, ...]) -> bool:
    return len(kind.shape) == len(shape) and all(a in (None, b) for a, b in zip(kind.shape, shape, strict=True))


def _checked(kind: ValueType | None, value: torch.Tensor) -> torch.Tensor:
    """`value` in the declared type and shape; axes that the program leaves open may have any size."""
    declared = _declared(kind)
    value = narrowed(value, declared)
    if value.numel() > MAX_ELEMENTS:
        raise ArtifactError(f"a value of shape {tuple(value.shape)} is larger than {MAX_ELEMENTS} elements")
    if kind is None or value.dtype != declared or not _fits(kind, tuple(value.shape)):
        said = "nothing" if kind is None else f"{kind.dtype.name} {shown_shape(kind.shape)}"
        found = f"{str(value.dtype).removeprefix('torch.')} {shown_shape(value.shape)}"
        raise ArtifactError(f"its result is declared {said}, but is {found}")
    return value
