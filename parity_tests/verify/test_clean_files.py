"""Clean files are accused of nothing, however they are fed; a file like the one from the wild is found out."""

from pathlib import Path

import pytest
from support import faults
from support.artifacts import ALL
from support.data import DATA, needs
from support.opening import Here

from converters import Options
from converters.loading import read_source
from converters.verify import Verifier
from converters.verify.diagnosis import Diagnosis
from u2net_zoo.preprocessing import PROFILES

WHOLE = Options(size=(64, 64), outputs="all")


@pytest.fixture(scope="module")
def clean(made) -> Path:
    return made.one("onnx", WHOLE).path


@pytest.fixture(scope="module")
def verifier(small) -> Verifier:
    return Verifier(small, PROFILES["paper"], {}, (64, 64), opened=Here)


@pytest.mark.parametrize("name", ALL)
def test_a_clean_file_of_every_format_is_accused_of_nothing(name, made, verifier):
    verdict = verifier.verify(made.one(name, WHOLE).path)
    assert (verdict.ok, verdict.precision, verdict.diagnosis) == (True, "fp32", None)
    assert verdict.format == name
    assert len(verdict.report.outputs) == 7


def test_a_clean_file_that_takes_pixels_is_worked_out(clean, verifier, tmp_path):
    verdict = verifier.verify(faults.planted(clean, tmp_path / "pixels.onnx", faults.takes_pixels()))
    assert verdict.ok
    assert verdict.takes == "pixels 0..255"


def test_a_clean_file_that_divides_by_255_as_its_profile_does_is_accused_of_nothing(clean, small, tmp_path):
    plant = faults.takes_pixels(by_maximum=False, mean=0.5, std=1)
    path = faults.planted(clean, tmp_path / "pixels.onnx", plant)
    verdict = Verifier(small, PROFILES["isnet"], {}, (64, 64), known=True, opened=Here).verify(path)
    assert verdict.ok
    assert verdict.takes == "pixels 0..255"


def aligns_corners(diagnosis: Diagnosis) -> None:
    assert diagnosis.explanation.name == "align_corners=True"
    assert diagnosis.first.path == "stage1.rebnconv5d"
    assert str(diagnosis.weights) == "the checkpoint's, to within float32's rounding"


def test_a_tflite_file_like_the_one_from_the_wild_uses_align_corners(made, verifier, tmp_path):
    path = faults.aligned_corners(made.one("tflite", WHOLE).path, tmp_path / "wrong.tflite")
    aligns_corners(verifier.verify(path).diagnosis)


@pytest.mark.full
def test_the_file_from_the_wild_uses_align_corners(real_weights):
    verifier = Verifier(read_source(real_weights), PROFILES["paper"], {}, opened=Here)
    path = needs(DATA / "weights" / "u2netp_fp16_third_party.tflite")
    aligns_corners(verifier.verify(path).diagnosis)
