"""Tiny ML Programs for the tests: built with coremltools' builder and saved as packages, as anybody would make them."""

import gc
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ct = pytest.importorskip("coremltools", reason="coremltools is not installed: programs cannot be made")

from coremltools.converters.mil.mil import Builder as mb  # noqa: E402, N813  after the skip; everybody's name
from coremltools.converters.mil.mil import Function, Program, types  # noqa: E402

from converters.mil import Package, evaluate  # noqa: E402

__all__ = ["IOS", "Case", "arrays", "case", "ct", "mb", "run", "run_together", "save", "types"]

IOS = {15: ct.target.iOS15, 16: ct.target.iOS16, 17: ct.target.iOS17, 18: ct.target.iOS18}
MIL_TYPES = {np.dtype("float32"): types.fp32, np.dtype("float16"): types.fp16, np.dtype("int32"): types.int32}
_counter = itertools.count()
gc.freeze()  # coremltools collects garbage in every conversion: 0.4 s over all that the imports left behind


@dataclass(frozen=True)
class Case:
    """One setting of one op: how the program is built, what goes in, and what has to come out."""

    op: str
    build: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    expected: Callable[..., Any]
    ios: int
    tolerance: float
    note: str = field(default="")

    def __str__(self) -> str:
        return f"{self.op}-{self.note}" if self.note else self.op


def case(
    op: str,
    inputs: Any,
    build: Callable[..., Any],
    expected: Any,
    *,
    ios: int = 17,
    tolerance: float = 2e-6,
    note: str = "",
) -> Case:
    """`expected`: an array, or a function of the inputs."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    answer = expected if callable(expected) else lambda *_: expected
    return Case(op, build, given, answer, ios, tolerance, note)


def arrays(*shapes: tuple[int, ...], seed: int = 0, low: float = -2, high: float = 2) -> tuple[np.ndarray, ...]:
    """Uniform float32 arrays of these shapes."""
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(low, high, shape).astype(np.float32) for shape in shapes)


Part = tuple[Callable[..., Any], Sequence[np.ndarray]]  # what builds one part of a program, and its inputs


def save(folder: Path, build: Callable[..., Any], inputs: Sequence[np.ndarray], ios: int = 17) -> Path:
    """The package of a program whose inputs x, y, z are like `inputs`; no pass of coremltools touches it."""
    return _saved(folder, [(build, inputs)], ios)[0]


def run(folder: Path, build: Callable[..., Any], *inputs: np.ndarray, ios: int = 17) -> list[np.ndarray]:
    """The outputs of a program that was built, saved, opened and evaluated."""
    return run_together(folder, [(build, inputs)], ios)[0]


def run_together(folder: Path, parts: Sequence[Part], ios: int) -> list[list[np.ndarray]]:
    """The outputs of each part of one program that holds them all side by side; see `run`."""
    path, counts = _saved(folder, parts, ios)
    given = {name: array for n, (_, inputs) in enumerate(parts) for name, array in _named(n, inputs).items()}
    answers = iter(evaluate(Package.open(path), given).values())
    return [list(itertools.islice(answers, count)) for count in counts]


def _named(part: int, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of the first part are x, y, z, of the second x1, y1, z1 …"""
    return {f"{letter}{part or ''}": array for letter, array in zip("xyz", inputs, strict=False)}


def _saved(folder: Path, parts: Sequence[Part], ios: int) -> tuple[Path, list[int]]:
    """The package, and how many outputs each part has."""
    program, counts = _program(parts, ios)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=IOS[ios],
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    path = folder / f"program{next(_counter)}.mlpackage"
    model.save(str(path))
    return path, counts


def _program(parts: Sequence[Part], ios: int) -> tuple[Any, list[int]]:
    """What `mb.program` makes of a function; that wants the names of its inputs in its source."""
    named = [_named(n, inputs) for n, (_, inputs) in enumerate(parts)]
    specs = {name: mb.TensorSpec(array.shape, MIL_TYPES[array.dtype]) for part in named for name, array in part.items()}
    program, answers = Program(), []
    with Function(specs, IOS[ios]) as function:
        for (build, _), part in zip(parts, named, strict=True):
            answer = build(*(function.inputs[name] for name in part))
            answers.append(list(answer) if isinstance(answer, tuple | list) else [answer])
        function.set_outputs(list(itertools.chain(*answers)))
    program.add_function("main", function)
    return program, [len(answer) for answer in answers]
