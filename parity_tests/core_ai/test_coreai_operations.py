"""Every operation of Core AI against its meaning, against its own definition in the file, and against Apple's runtime.

`coreai-core` brings that runtime for this system too: slow, exact, and made by the format's maker.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.coreai_cases import CASES
from support.data import TESTS

from converters.coreai import Asset
from converters.coreai.interpreter import Interpreter, supported
from converters.coreai.kernels import KERNELS

pytest.importorskip("coreai", reason="needs Core AI's tools: Linux on x86-64, or macOS 26")

NUMBERS = {name: number for number, name in enumerate(CASES)}
DEFINED = [name for name, case in CASES.items() if case.defined]


@pytest.fixture(scope="module")
def cases(store) -> Path:
    """A folder with the asset of each case, and what Apple's runtime answered."""

    def make(folder: Path) -> Path:
        maker = TESTS / "support" / "coreai_makers.py"
        done = subprocess.run([sys.executable, str(maker), str(folder)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return folder

    return store.once("cases of Core AI", make)


def evaluated(cases: Path, name: str, by_definition: bool = False) -> np.ndarray:
    asset = Asset.open(cases / f"{NUMBERS[name]}.aimodel")
    given = {f"x{n}": value for n, value in enumerate(CASES[name].inputs)}
    return Interpreter(asset, by_definition).evaluate(given)["output"]


def assert_close(found: np.ndarray, name: str, meant: np.ndarray) -> None:
    half = found.dtype == np.float16
    scale = max(1.0, float(np.abs(meant.astype(np.float64)).max()))
    assert found.shape == meant.shape
    np.testing.assert_allclose(found.astype(np.float64), meant, rtol=0, atol=scale * (2**-11 if half else 2e-6))


@pytest.mark.parametrize("name", CASES)
def test_an_operation_is_computed_as_it_is_defined(cases, name):
    with np.load(cases / f"{NUMBERS[name]}.npz") as told:
        assert "error" not in told, str(told["error"])
    assert_close(evaluated(cases, name), name, CASES[name].meant())


@pytest.mark.parametrize("name", DEFINED)
def test_its_own_definition_in_the_file_says_the_same(cases, name):
    np.testing.assert_allclose(
        evaluated(cases, name, by_definition=True),
        evaluated(cases, name),
        rtol=2e-3 if "float16" in name else 2e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", CASES)
def test_apple_s_own_runtime_answers_the_same(cases, name):
    with np.load(cases / f"{NUMBERS[name]}.npz") as told:
        answer = told["output"]
    found = evaluated(cases, name)
    assert answer.dtype == found.dtype
    assert_close(found, name, answer)


def test_every_operation_has_a_case(cases):
    def kinds(operations):
        for operation in operations:
            yield operation.kind
            yield from kinds(operation.body)

    seen = {kind for n in NUMBERS.values() for kind in kinds(Asset.open(cases / f"{n}.aimodel").function.operations)}
    alone = {kind.replace("broadcasting_", "") for kind in seen} | seen
    assert set(KERNELS) <= alone


def test_half_precision_is_rounded_where_the_program_says_so(cases):
    name = "add, float16"
    x, y = (each.astype(np.float32) for each in CASES[name].inputs)
    np.testing.assert_array_equal(evaluated(cases, name), (x + y).astype(np.float16))
    assert evaluated(cases, name).dtype == np.float16


def test_the_operations_are_listed_sorted():
    assert list(supported()) == sorted(supported())
    assert "conv2d_v1" in supported()
