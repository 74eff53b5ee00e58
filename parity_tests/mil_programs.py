"""Tiny ML Programs for the tests: built with coremltools' builder and saved as packages, as anybody would make them."""

import gc
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ct = pytest.importorskip("coremltools", reason="coremltools is not installed: programs cannot be made")

from coremltools.converters.mil.mil import Builder as mb  # noqa: E402, N813  after the skip; everybody's name
from coremltools.converters.mil.mil import types  # noqa: E402

from converters.mil import Package, evaluate  # noqa: E402

__all__ = ["IOS", "Case", "arrays", "case", "ct", "mb", "run", "save", "types"]

IOS = {15: ct.target.iOS15, 16: ct.target.iOS16, 17: ct.target.iOS17, 18: ct.target.iOS18}
MIL_TYPES = {np.dtype("float32"): types.fp32, np.dtype("float16"): types.fp16, np.dtype("int32"): types.int32}
NAMES = "xyz"
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


def save(folder: Path, build: Callable[..., Any], inputs: tuple[np.ndarray, ...], ios: int = 17) -> Path:
    """The package of a program whose inputs x, y, z are like `inputs`; no pass of coremltools touches it."""
    specs = [mb.TensorSpec(array.shape, MIL_TYPES[array.dtype]) for array in inputs]
    wrappers: dict[int, Callable[..., Any]] = {
        1: lambda x: build(x),
        2: lambda x, y: build(x, y),
        3: lambda x, y, z: build(x, y, z),
    }
    program = mb.program(input_specs=specs, opset_version=IOS[ios])(wrappers[len(inputs)])
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
    return path


def run(folder: Path, build: Callable[..., Any], *inputs: np.ndarray, ios: int = 17) -> list[np.ndarray]:
    """The outputs of a program that was built, saved, opened and evaluated."""
    package = Package.open(save(folder, build, inputs, ios))
    return list(evaluate(package, dict(zip(NAMES, inputs, strict=False))).values())
