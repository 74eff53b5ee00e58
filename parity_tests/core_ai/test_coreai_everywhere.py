"""An asset of Core AI is read, run and looked into where none of Apple's packages is: one lies in the repository.

`goldens/tiny.aimodel` is `hard_checkpoint(TINY)` at 32x48 with all outputs, written by coreai-torch 0.4.3.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from support.data import TESTS
from support.networks import TINY, hard_checkpoint

from converters import FORMATS
from converters.bench.contestants import for_artifact
from converters.coreai import Asset
from converters.formats.coreai_reader import graph_of
from converters.formats.coreai_runtime import by_apple
from converters.formats.weight_graph import Conv
from converters.loading import format_of
from converters.torch_predictor import TorchPredictor
from u2net_zoo.errors import ArtifactError, MissingExtraError

ASSET = TESTS / "goldens" / "tiny.aimodel"
APPLE = ("coreai", "coreai.authoring", "coreai.runtime", "coreai_torch", "coreai_opt")


@pytest.fixture(autouse=True)
def without_apple(monkeypatch):
    for name in APPLE:
        monkeypatch.setitem(sys.modules, name, None)


def test_it_is_known_by_what_is_in_it():
    assert format_of(ASSET).name == "coreai"


def test_its_weights_are_those_that_went_in():
    back, folded = FORMATS["coreai"].read(ASSET), hard_checkpoint(TINY).fold()
    for unit in folded.arch.units():
        for part in ("weight", "bias"):
            key = f"{unit.conv_path}.{part}"
            np.testing.assert_array_equal(back.fold().state[key], folded.state[key])


def test_its_dilations_are_those_of_the_network():
    found = [node.role.dilation for node in graph_of(Asset.open(ASSET)).order() if isinstance(node.role, Conv)]
    assert sorted(found) == sorted(unit.dilation for unit in TINY.units())
    assert max(found) > 1


def test_it_answers_within_torch_s_noise():
    checkpoint, predictor = hard_checkpoint(TINY), FORMATS["coreai"].run(ASSET)
    x = np.random.default_rng(5).standard_normal((1, 3, 32, 48)).astype(np.float32)
    exact, single = (TorchPredictor(checkpoint, dtype)(x) for dtype in ("float64", "float32"))
    answers = predictor(x)
    assert answers.keys() == exact.keys()
    for name, answer in answers.items():
        noise = np.abs(single[name] - exact[name]).max()
        assert np.abs(answer - exact[name]).max() <= 3 * noise + 1e-6


def test_its_units_can_be_looked_at():
    checkpoint, predictor = hard_checkpoint(TINY), FORMATS["coreai"].run(ASSET)
    x = np.random.default_rng(6).standard_normal((1, 3, 32, 48)).astype(np.float32)
    found, meant = (dict(each.taps(x, checkpoint.arch)) for each in (predictor, TorchPredictor(checkpoint.fold())))
    assert found.keys() == meant.keys()
    for path, value in found.items():
        np.testing.assert_allclose(value, meant[path], rtol=0, atol=1e-4 * max(1, np.abs(value).max()), err_msg=path)


def test_apple_s_runtime_is_said_to_be_missing():
    with pytest.raises(ArtifactError, match="Core AI's runtime is not there for this system") as told:
        by_apple(Path(ASSET), "main", {})
    assert "\n" not in str(told.value)


def test_writing_one_names_the_extra(monkeypatch):
    monkeypatch.setattr("converters.engines.runnable.find_spec", lambda name: None if name in APPLE else object())
    with pytest.raises(
        MissingExtraError, match=r"needs the package 'coreai_torch', which is not installed.*\[coreai\]"
    ):
        FORMATS["coreai"].require()
    FORMATS["coreai"].require_running()


def test_all_leaves_it_out_where_its_tools_are_not_made_for_the_system(monkeypatch):
    monkeypatch.setattr("converters.formats.coreai_format.core_ai", lambda: "")
    monkeypatch.setattr("converters.formats.coreai_format.find_spec", lambda name: None)
    assert not FORMATS["coreai"].in_all()
    monkeypatch.setattr("converters.formats.coreai_format.core_ai", lambda: "written")
    assert FORMATS["coreai"].in_all()


def test_a_benchmark_says_that_it_times_the_evaluator(monkeypatch):
    assert for_artifact(ASSET, "tiny.aimodel", "cpu").name == "tiny.aimodel, evaluated"
    monkeypatch.setattr("converters.formats.coreai_format.core_ai", lambda: "runs")
    assert for_artifact(ASSET, "tiny.aimodel", "cpu").name == "tiny.aimodel, evaluated"  # without Apple's packages
    monkeypatch.setattr("converters.formats.coreai_format.find_spec", lambda name: object())
    assert for_artifact(ASSET, "tiny.aimodel", "cpu").name == "tiny.aimodel"
