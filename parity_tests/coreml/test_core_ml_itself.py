"""On macOS Core ML runs what we write, on every kind of compute units; elsewhere a stand-in shows what would be asked.

The CPU is held to float32's own noise, the GPU and the Neural Engine to fp16's bounds. Written against coremltools 9's
documented interface; not run on a Mac yet.
"""

import functools
import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import NANO

from converters import FORMATS
from converters.loading import read_source
from converters.options import Options
from converters.parity.compare import compare
from converters.parity.gate import prove
from converters.parity.reference import Reference
from converters.parity_report import Report
from converters.predictor import Predictor
from u2net_zoo.errors import ArtifactError, ParityError

COREML = importlib.import_module("converters.formats.coreml_format")
BOUNDS = FORMATS["coreml"].bounds
CASES = {
    "tensor": Options(size=(64, 64), io="tensor", precision="fp32", outputs="all"),
    "picture": Options(size=(64, 64), io="image", precision="fp32"),
    "half": Options(size=(320, 320), io="tensor", precision="fp16"),
}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(read_source(NANO), CASES["tensor"].size)


@pytest.mark.skipif(not COREML.has_core_ml(), reason="needs macOS: Core ML runs nowhere else")
@pytest.mark.parametrize("units", COREML.UNITS)
@pytest.mark.parametrize("case", CASES)
def test_core_ml_computes_the_network(case, units, nano_made):
    options = CASES[case]
    predictor = COREML._OnDevice(nano_made.one("coreml", options).path, units)
    reference = Reference(read_source(NANO), options.size)
    bound = BOUNDS.get(options.precision) or BOUNDS.get(predictor.computes)
    assert (bound is None) == (units == "CPU_ONLY" and options.precision == "fp32")
    report = compare(predictor, reference, bound)
    assert report.ok, report.summary()


# --- a stand-in for the model that coremltools loads, which answers by our evaluator


class Loaded:
    """Takes what the documentation of `MLModel.predict` asks for, and answers in kind."""

    def __init__(self, path: Path, off: float):
        self.inside, self.off = evaluator(path), off

    def predict(self, data: dict) -> dict:
        ((name, given),) = data.items()
        assert name == self.inside.input
        if self.inside.picture:
            assert given.mode == "RGB"
            (answer,) = self.inside.answers(np.asarray(given)).values()
            return {"mask": Image.fromarray(np.asarray(answer, np.uint8).reshape(answer.shape[-2:]))}
        assert given.dtype == np.float32
        answers = remembered(self.inside, given.shape, given.tobytes())
        return {key: np.clip(value + np.float32(self.off), 0, 1) for key, value in answers.items()}


@functools.cache
def evaluator(path: Path) -> Predictor:
    return COREML._Evaluated(path)


@functools.cache
def remembered(inside: Predictor, shape: tuple[int, ...], data: bytes) -> dict[str, np.ndarray]:
    """Each kind of units is asked the same."""
    return inside.answers(np.frombuffer(data, np.float32).reshape(shape).copy())


class Mac:
    """What was loaded on which units, and how far off some of these are."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.off: dict[str, float] = {}

    def load(self, path: Path, units: str) -> Loaded:
        self.asked.append(units)
        return Loaded(path, self.off.get(units, 0))


@pytest.fixture(scope="module")
def packages(nano_made) -> dict[str, Path]:
    return {case: nano_made.one("coreml", options).path for case, options in CASES.items()}


@pytest.fixture
def mac(packages, monkeypatch) -> Mac:
    """macOS, as far as our code can tell."""
    stand_in = Mac()
    monkeypatch.setattr(COREML, "has_core_ml", lambda: True)
    monkeypatch.setattr(COREML, "loaded", stand_in.load)
    return stand_in


def proved(path: Path, reference: Reference) -> Report:
    coreml = FORMATS["coreml"]
    return prove(coreml, path, coreml.settle(CASES["tensor"]), reference)


def test_every_kind_of_units_proves_a_package_and_the_cpu_decides(mac, packages, reference):
    mac.off = {"ALL": 2e-4, "CPU_AND_NE": 2e-4, "CPU_AND_GPU": 2e-4}
    report = proved(packages["tensor"], reference)
    assert mac.asked == list(COREML.UNITS)
    assert report.kind == "tensor"  # float32's own noise is what the report tells
    assert report.worst.ratio <= 3


@pytest.mark.parametrize(("units", "off"), [("CPU_ONLY", 2e-4), ("CPU_AND_NE", 0.02), ("CPU_AND_GPU", 0.02)])
def test_a_package_that_one_kind_computes_wrongly_is_not_kept(mac, packages, reference, units, off):
    mac.off = {units: off}
    with pytest.raises(ParityError, match="coreml: not kept: "):
        proved(packages["tensor"], reference)


@pytest.mark.parametrize(("case", "units"), [("tensor", "CPU_ONLY"), ("picture", "CPU_ONLY"), ("half", "ALL")])
def test_float32_is_run_on_the_cpu_and_reduced_packages_on_all_units(mac, packages, case, units):
    predictor = FORMATS["coreml"].run(packages[case])
    assert mac.asked == [units]
    size = CASES[case].size
    mask = predictor(np.zeros((1, 3, *size), np.float32))["mask"]
    assert (mask.shape, mask.dtype) == ((1, 1, *size), np.uint8 if case == "picture" else np.float32)


def test_a_package_that_core_ml_refuses_is_one_line(packages, monkeypatch):
    def refuse(model: str, compute_units=None) -> None:
        warnings.warn("You will not be able to run predict()", RuntimeWarning, stacklevel=2)

    monkeypatch.setattr(COREML, "has_core_ml", lambda: True)
    monkeypatch.setattr(COREML.coremltools().models, "MLModel", refuse)
    with pytest.raises(ArtifactError, match=r"Core ML cannot load it on CPU_ONLY \(RuntimeWarning: You will not"):
        FORMATS["coreml"].run(packages["tensor"])
