"""Weights that the catalog names run in any runtime, whatever kind of file it has of them."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.faults import average_pools, planted
from support.lasting import full_for

from converters import Options
from u2net_zoo import Session
from u2net_zoo.errors import OptionError
from u2net_zoo.sources import locate

ENTRY = """
[mine]
purpose = "a drawing"
architecture = "from shapes"
profile = "sky"
output = "drawing"
licence = "Apache-2.0"
training = "none"
citation = "none"

[[mine.sources]]
kind = "http"
url = "http://127.0.0.1:9/weights.onnx"
file = "weights.onnx"
bytes = {bytes}
sha256 = "{sha256}"
"""


@pytest.fixture
def side() -> int:
    return 64


@pytest.fixture
def onnx(made, tmp_path, monkeypatch, side):
    """The file of the catalog's `mine`, an ONNX one of 64 by 64, in the cache; the profile's size is 384."""
    file = tmp_path / "home" / "mine" / "weights.onnx"
    file.parent.mkdir(parents=True)
    shutil.copy(made.one("onnx", Options(size=(side, side), outputs="all")).path, file)
    content = file.read_bytes()
    text = ENTRY.format(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    (tmp_path / "catalog.toml").write_text(text)
    monkeypatch.setenv("U2ZOO_CATALOG", str(tmp_path / "catalog.toml"))
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return file


def test_a_name_runs_in_the_runtime_that_is_asked_for_at_its_profiles_size(onnx):
    assert locate("mine").path == onnx
    assert Session("mine", runtime="onnx").size == (64, 64)
    session = Session("mine", runtime="torchscript")
    assert (session.size, session.profile.name) == ((384, 384), "sky")
    x = np.random.default_rng(0).standard_normal((1, 3, 384, 384)).astype(np.float32)
    reference = Session("mine", runtime="torch").answer(x)
    assert np.abs(session.answer(x) - reference).max() < 1e-3


@pytest.mark.parametrize("side", [384])
def test_a_name_whose_file_computes_its_weights_runs_in_the_engine(onnx):
    assert Session("mine").engine.runtime == "torch"  # what U2ZOO_RUNTIME names here
    (record,) = (onnx.parents[1] / "engines" / "files").iterdir()
    assert json.loads(record.read_text())["computes_its_weights"]
    assert Session(onnx).engine.runtime == "onnxruntime"  # a file that is named runs as it is
    assert Session("mine", takes="normalised").engine.runtime == "onnxruntime"


def test_a_name_keeps_the_size_that_its_file_takes(onnx):
    """In the engine it would be another one, and its masks others, with Torch and without differently."""
    assert (Session("mine").engine.runtime, Session("mine").size) == ("onnxruntime", (64, 64))


@pytest.mark.parametrize("side", [384])
@pytest.mark.parametrize("reason", full_for(["it differs", "it cannot be remembered"], "it cannot be remembered"))
def test_a_name_whose_file_is_not_known_to_compute_them_runs_as_it_is(onnx, reason, monkeypatch):
    if reason == "it differs":
        planted(onnx, onnx, average_pools)
        text = Path("catalog.toml").read_text()
        right = hashlib.sha256(onnx.read_bytes()).hexdigest()
        text = re.sub(r'sha256 = ".*"', f'sha256 = "{right}"', text)
        text = re.sub(r"bytes = \d+", f"bytes = {onnx.stat().st_size}", text)
        Path("catalog.toml").write_text(text)
    else:
        (onnx.parents[1] / "engines").write_text("in the way")
    for _ in range(2):
        session = Session("mine")
        assert (session.engine.runtime, session.size) == ("onnxruntime", (384, 384))


def test_a_file_that_is_named_is_not_converted(onnx):
    with pytest.raises(OptionError, match=r"is ONNX: --runtime onnx runs it, torchscript does not"):
        Session(onnx, runtime="torchscript")


@pytest.mark.full
def test_a_format_that_takes_pictures_by_default_is_run_on_the_tensor(small):
    """Else it would have a profile in its graph, which wins: the wrong one for most weights."""
    session = Session(small, runtime="coreml")
    assert (session.predictor.embedded, session.size) == (None, (320, 320))
