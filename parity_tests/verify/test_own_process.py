"""Artifacts run in a process of their own: it answers as this one does, and its end is an error and no more."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from support import faults
from support.opening import Here

from converters import FORMATS, Options
from converters.bench.contestants import TORCH_VARIANT
from converters.isolated import IsolatedPredictor, open_isolated
from converters.verify import Verifier
from converters.verify.result import VerificationResult
from u2net_zoo.errors import ArtifactError, UsageError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.system import peak_memory

SHAPE = (1, 3, 64, 64)


@pytest.fixture(scope="module")
def clean(made):
    return made.one("onnx", Options(size=(64, 64), outputs="all")).path


def test_a_process_of_its_own_answers_as_this_one_does(clean):
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    here = FORMATS["onnx"].run(clean)
    with open_isolated(clean) as predictor:
        assert (predictor.size, predictor.batch, predictor.outputs) == (here.size, here.batch, here.outputs)
        np.testing.assert_array_equal(predictor(x)["mask"], here(x)["mask"])
        assert len(predictor.usage.seconds) == 1
        for opened in (predictor, Here(clean)):
            with pytest.raises(ArtifactError, match="takes 64x64, got 32x32"):
                opened(x[:, :, :32, :32])


def test_its_memory_is_its_own(clean):
    """Not that of the process that asked for it, which holds some frameworks."""
    held = np.ones(100_000_000, np.uint8)
    with open_isolated(clean) as predictor:
        predictor(np.zeros(SHAPE, np.float32))
        assert 1e7 < predictor.usage.memory < peak_memory() - held.nbytes


def told(verdict: VerificationResult) -> dict:
    """What a verdict says, without what the runtime took."""
    found = dataclasses.replace(verdict, usage=None)
    return {field.name: repr(getattr(found, field.name)) for field in dataclasses.fields(found)}


def test_a_verdict_is_the_same_wherever_the_file_was_opened(clean, small, tmp_path):
    path = faults.planted(clean, tmp_path / "wrong.onnx", faults.EDITS["inverted (1 - mask)"])
    pictures = {"noise": Image.effect_noise((50, 40), 90).convert("RGB")}
    isolated, here = (
        Verifier(small, PROFILES["paper"], pictures, **opened).verify(path) for opened in ({}, {"opened": Here})
    )
    assert not isolated.ok
    assert isolated.diagnosis.first is None  # its inner values came over too, and are right
    assert told(isolated) == told(here)
    assert len(isolated.usage.seconds) == len(here.usage.seconds) > 0


def test_what_is_no_number_comes_over_as_it_is(clean, tmp_path):
    path = faults.planted(clean, tmp_path / "nan.onnx", faults.behind("Mul", constant=np.nan))
    x = np.zeros(SHAPE, np.float32)
    with open_isolated(path) as predictor:
        np.testing.assert_array_equal(predictor(x)["mask"], Here(path)(x)["mask"])
        assert np.isnan(predictor(x)["mask"]).all()


def test_what_cannot_be_opened_is_the_same_error_in_both(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    said = []
    for opened in (open_isolated, Here):
        with pytest.raises(ArtifactError) as caught:
            opened(path)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "onnxruntime cannot load it" in said[0]


def test_a_runtime_that_crashes_is_an_error_and_not_the_end(clean):
    with open_isolated(clean) as predictor:
        predictor.process.kill()
        with pytest.raises(ArtifactError, match=rf"{clean.name}: its runtime's process ended: SIGKILL"):
            predictor(np.zeros(SHAPE, np.float32))


def test_a_missing_option_of_a_process_is_a_usage_error(small_file):
    with pytest.raises(UsageError, match="Torch variant fast/float32; allowed: eager, folded"):
        IsolatedPredictor(TORCH_VARIANT, {"path": str(small_file), "step": "fast"})
