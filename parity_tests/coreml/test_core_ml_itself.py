"""On macOS Core ML runs what we write, on every kind of compute units; elsewhere a stand-in shows what would be asked.

The CPU is held to float32's own noise, the GPU and the Neural Engine to fp16's bounds. Written against coremltools 9's
documented interface; not run on a Mac yet.
"""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import NANO

from converters import FORMATS, convert
from converters.loading import read_source
from converters.options import Options
from converters.parity.compare import compare
from converters.parity.reference import Reference
from u2net_zoo.errors import ArtifactError, ParityError

COREML = importlib.import_module("converters.formats.coreml_format")
BOUNDS = FORMATS["coreml"].bounds
CASES = {
    "tensor": Options(size=(64, 64), io="tensor", precision="fp32", outputs="all"),
    "picture": Options(size=(64, 64), io="image", precision="fp32"),
    "half": Options(size=(64, 64), io="tensor", precision="fp16"),
}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(read_source(NANO), (64, 64))


@pytest.mark.skipif(not COREML.on_macos(), reason="needs macOS: Core ML runs nowhere else")
@pytest.mark.parametrize("units", COREML.UNITS)
@pytest.mark.parametrize("case", CASES)
def test_core_ml_computes_the_network(case, units, nano_made, reference):
    options = CASES[case]
    predictor = COREML._OnDevice(nano_made.one("coreml", options).path, units)
    bound = BOUNDS.get(options.precision) or BOUNDS.get(predictor.computes)
    assert (bound is None) == (units == "CPU_ONLY" and options.precision == "fp32")
    report = compare(predictor, reference, bound)
    assert report.ok, report.summary()


# --- a stand-in for coremltools' MLModel, which answers by our evaluator


class MLModel:
    """Takes what the documentation of `MLModel` asks for, and answers in kind."""

    asked: list[str] = []
    rounded: tuple[str, ...] = ()
    step = 1 / 256  # what the units in `rounded` add at most

    def __init__(self, model: str, compute_units=None):
        self.units = compute_units.name
        self.asked.append(self.units)
        self.inside = COREML._Evaluated(Path(model))

    def predict(self, data: dict) -> dict:
        ((name, given),) = data.items()
        assert name == self.inside.input
        if self.inside.picture:
            assert given.mode == "RGB"
            (answer,) = self.inside.answers(np.asarray(given)).values()
            return {"mask": Image.fromarray(np.asarray(answer, np.uint8).reshape(answer.shape[-2:]))}
        assert given.dtype == np.float32
        answers = self.inside.answers(given)
        off = self.step if self.units in self.rounded else 0
        return {key: np.clip(value + np.float32(off), 0, 1) for key, value in answers.items()}


@pytest.fixture
def on_a_mac(monkeypatch) -> type[MLModel]:
    """macOS, as far as our code can tell."""
    if COREML.on_macos():
        pytest.skip("a stand-in is for systems without Core ML; needs macOS to be absent")
    monkeypatch.setattr(COREML, "on_macos", lambda: True)
    monkeypatch.setattr(COREML.coremltools().models, "MLModel", MLModel)
    monkeypatch.setattr(MLModel, "asked", [])
    return MLModel


def test_every_kind_of_units_proves_a_package_and_the_cpu_decides(on_a_mac, monkeypatch, tmp_path):
    monkeypatch.setattr(on_a_mac, "rounded", ("ALL", "CPU_AND_NE", "CPU_AND_GPU"))
    monkeypatch.setattr(on_a_mac, "step", 1e-3)
    (artifact,) = convert(NANO, "coreml", tmp_path, options=CASES["tensor"])
    assert on_a_mac.asked == list(COREML.UNITS)
    assert artifact.report.kind == "tensor"  # float32's own noise is what the report tells
    assert artifact.report.ok


@pytest.mark.parametrize(("units", "step"), [("CPU_ONLY", 1e-3), ("CPU_AND_NE", 0.02)])
def test_a_package_that_one_kind_computes_wrongly_is_not_kept(on_a_mac, monkeypatch, tmp_path, units, step):
    monkeypatch.setattr(on_a_mac, "rounded", (units,))
    monkeypatch.setattr(on_a_mac, "step", step)
    with pytest.raises(ParityError, match="coreml: not kept: "):
        convert(NANO, "coreml", tmp_path, options=CASES["tensor"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("case", "units"), [("tensor", "CPU_ONLY"), ("picture", "CPU_ONLY"), ("half", "ALL")])
def test_float32_is_run_on_the_cpu_and_reduced_packages_on_all_units(on_a_mac, nano_made, case, units):
    path = nano_made.one("coreml", CASES[case]).path
    on_a_mac.asked.clear()
    predictor = FORMATS["coreml"].run(path)
    assert on_a_mac.asked == [units]
    x = np.zeros((1, 3, 64, 64), np.float32)
    mask = predictor(x)["mask"]
    assert (mask.shape, mask.dtype) == ((1, 1, 64, 64), np.uint8 if case == "picture" else np.float32)


def test_a_package_that_core_ml_refuses_is_one_line(on_a_mac, monkeypatch, nano_made):
    path = nano_made.one("coreml", CASES["tensor"]).path

    def refuse(model: str, compute_units=None) -> None:
        warnings.warn("You will not be able to run predict()", RuntimeWarning, stacklevel=2)

    monkeypatch.setattr(COREML.coremltools().models, "MLModel", refuse)
    with pytest.raises(ArtifactError, match=r"Core ML cannot load it on CPU_ONLY \(RuntimeWarning: You will not"):
        FORMATS["coreml"].run(path)
