"""An engine that crashes, hangs or answers wrongly while it is tried is out, named, and not tried again."""

import os
import re

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint

from converters.engines import Weights, candidate, open_engine
from converters.engines.trial import Trial, agree
from converters.torch_predictor import TorchPredictor
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 64)
TWO = [candidate("onnx"), candidate("openvino")]
# What the process of the trial is made to do with OpenVINO; it is loaded as that process starts.
FAULT = """
import os, time
from converters.formats.openvino_format import _Runtime
compute = _Runtime.compute
def bad(self, x):
    {}
_Runtime.compute = bad
"""
WINDOWS = os.name == "nt"  # which has no signals
FAULTS = {
    "os.kill(os.getpid(), 11)": f"its runtime's process ended: {'exit code 11' if WINDOWS else 'SIGSEGV'}",
    "os.abort()": f"its runtime's process ended: {'exit code 3' if WINDOWS else 'SIGABRT'}",
    "os._exit(3)": "its runtime's process ended: exit code 3",
    "raise ValueError('no such kernel')": "ValueError: no such kernel",
    "return {n: a * 0.9 for n, a in compute(self, x).items()}": "answers another mask than onnxruntime",
    "return {n: a * float('nan') for n, a in compute(self, x).items()}": "answers what are no numbers",
}
QUICK = (0, 4)  # of them; each is some processes that start


@pytest.fixture(scope="module")
def tiny():
    return hard_checkpoint(TINY)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """`broken(code)`: OpenVINO does that in processes that start from now on."""

    def make(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(FAULT.format(code))
        monkeypatch.syspath_prepend(tmp_path)

    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("U2ZOO_RUNTIME")
    return make


@pytest.mark.parametrize(
    "code", [each if n in QUICK else pytest.param(each, marks=pytest.mark.full) for n, each in enumerate(FAULTS)]
)
def test_a_bad_engine_is_out_and_remembered(broken, tiny, code):
    broken(code)
    weights = Weights(tiny.digest, lambda: tiny)
    predictor, choice = open_engine(weights, PROFILES["paper"], SIZE, among=TWO)
    assert (choice.name, list(choice.seconds)) == ("onnx", ["onnxruntime"])
    assert choice.struck["openvino"].startswith(FAULTS[code])
    assert re.fullmatch(
        rf"engine: onnxruntime, \d+ ms a photograph; not openvino: {re.escape(choice.struck['openvino'])}", str(choice)
    )
    x = np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)
    assert np.abs(predictor(x)["mask"] - TorchPredictor(tiny)(x)["mask"]).max() < 1e-4
    again = open_engine(Weights(tiny.digest, pytest.fail), PROFILES["paper"], SIZE, among=TWO)[1]
    assert (dict(again.struck), again.new) == (choice.struck, False)


@pytest.mark.full
def test_an_engine_that_hangs_is_stopped(broken, tiny, tmp_path):
    broken("time.sleep(600)")
    (tmp_path / "trial").mkdir()
    trial = Trial(tiny, PROFILES["paper"], SIZE, "cpu", tmp_path / "trial", limit=4)
    (tried,) = trial.run([candidate("openvino")])
    assert tried.error.endswith("no answer within 4 s; its runtime was stopped")
    assert tried.seconds is None


@pytest.mark.full
def test_an_engine_that_crashes_with_every_weights_is_not_tried_with_others(broken, tiny):
    broken("os.abort()")
    open_engine(Weights(tiny.digest, lambda: tiny), PROFILES["paper"], SIZE, among=TWO)
    other = hard_checkpoint(TINY, seed=2)
    choice = open_engine(Weights(other.digest, lambda: other), PROFILES["paper"], SIZE, among=TWO)[1]
    assert choice.struck["openvino"].startswith(FAULTS["os.abort()"])


def test_what_there_is_no_time_for_is_said(tiny, tmp_path):
    first, second = Trial(tiny, PROFILES["paper"], SIZE, "cpu", tmp_path, budget=0).run(TWO)
    assert first.seconds
    assert (second.seconds, second.error) == (None, "not tried: there was no time left")


def test_where_nothing_runs_on_a_device_the_error_says_why(broken, tiny, monkeypatch):
    """As if a GPU were there: OpenVINO's process says that it is not."""
    broken("pass")
    monkeypatch.setattr("converters.formats.openvino_format.OpenVINO.lacks", lambda *_: "")
    two = [candidate("openvino"), candidate("onnx")]
    with pytest.raises(
        OptionError, match=r"--device openvino:GPU: nothing ran there: openvino: OpenVINO finds no GPU, .*; onnx"
    ):
        open_engine(Weights(tiny.digest, lambda: tiny), PROFILES["paper"], SIZE, "openvino:GPU", among=two)


def test_a_grey_level_on_one_pixel_in_a_thousand_is_the_bound():
    mask = np.random.default_rng(0).random((1, 100, 100), dtype=np.float32)
    assert agree([mask], [mask + 0.9 / 255])
    for count, same in ((10, True), (11, False)):
        other = mask.copy()
        other[0, 0, :count] += 2 / 255
        assert agree([mask], [other]) == same
    classes = np.stack([mask[0], 1 - mask[0]])
    assert agree([classes], [classes * 7])
    assert not agree([classes], [classes[::-1]])
    assert not agree([mask], [mask[:, 1:]])
