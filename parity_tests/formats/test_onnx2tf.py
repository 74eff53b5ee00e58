"""`--via onnx2tf`: a second route to TensorFlow, through a tool in an environment of its own."""

import os
import sys
from pathlib import Path

import pytest
from support.agreement import largest_relative
from support.networks import SMALL
from support.watching import WATCH, watched_calls

from converters import FORMATS, Options, convert
from converters.isolated import IsolatedProcess
from converters.loading import read_source
from converters.tools import TOOLS, Environment
from u2net_zoo.errors import DownloadError, ExportError, MissingExtraError, OptionError


@pytest.mark.full
@pytest.mark.parametrize("name", ["savedmodel", "tflite"])
def test_onnx2tf_is_a_second_route_to_the_same_network(small, tmp_path, name):
    """At a size where no map is as high or wide as it has channels: onnx2tf tells the axes apart by their lengths."""
    artifact = convert(small, name, tmp_path, options=Options(size=(160, 224), outputs="all", via="onnx2tf"))[0]
    assert artifact.report.ok
    assert {output.name for output in artifact.report.outputs} == set(SMALL.outputs)
    assert largest_relative(read_source(artifact.path), small) <= 1e-6  # a SavedModel's are constants in its graph


@pytest.fixture
def watched_tool(tmp_path, monkeypatch):
    """onnx2tf's environment, whose Python notes whom it calls."""
    python = Environment(TOOLS["onnx2tf"]).make()
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    monkeypatch.setenv("U2ZOO_CALLED", str(tmp_path / "called.txt"))
    (packages / "sitecustomize.py").write_text(WATCH + NOTED)
    yield python
    (packages / "sitecustomize.py").unlink()


NOTED = "open(os.environ['U2ZOO_CALLED'] + '.started', 'w').write(sys.prefix)"


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="a venv has other folders there")
def test_onnx2tf_calls_nobody(small, tmp_path, watched_tool):
    convert(small, "tflite", tmp_path / "out", options=Options(size=(160, 224), via="onnx2tf"))
    assert Path((tmp_path / "called.txt.started").read_text()) == watched_tool.parents[1]
    assert watched_calls(tmp_path) == ""


def test_without_its_environment_and_offline_nothing_is_written(small, tmp_path, home, monkeypatch):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    with pytest.raises(DownloadError, match="make it once with a network: u2zoo tools make onnx2tf"):
        convert(small, "tflite", tmp_path / "out", options=Options(size=(32, 32), via="onnx2tf"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"io": "image"}], ids=str)
def test_what_onnx2tf_cannot_do_is_refused(options):
    with pytest.raises(OptionError, match="via native"):
        FORMATS["tflite"].settle(Options(via="onnx2tf", **options))
    with pytest.raises(OptionError, match="cannot honour --via onnx2tf; it has: native"):
        FORMATS["onnx"].settle(Options(via="onnx2tf"))


def test_without_onnx_its_extra_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr("converters.engines.runnable.find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(MissingExtraError, match=r"--via onnx2tf.*'onnx'.*pip install .*\[onnx\]"):
        convert(small, "tflite", tmp_path, options=Options(size=(32, 32), via="onnx2tf"))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stand_in(tmp_path_factory, monkeypatch):
    """`stand_in(source)`: a module `onnx2tf` of that source in its process, whose own conversions take 49 s."""

    def put(source: str) -> None:
        folder = tmp_path_factory.mktemp("stand-in")
        (folder / "onnx2tf.py").write_text(source)
        surroundings = {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
        monkeypatch.setattr(
            "converters.formats.onnx2tf_route.open_tool", lambda name: IsolatedProcess(name, environment=surroundings)
        )

    return put


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise SystemExit('no such op')", "no such op"),
        ("print('ERROR: no such op'); raise SystemExit(1)", "ERROR: no such op"),
        ("raise ValueError('no such op')", "ValueError: no such op"),
        ("import os; os.abort()", "onnx2tf: its runtime's process ended: SIGABRT"),
        ("pass", "no output"),
    ],
)
def test_an_onnx2tf_that_fails_is_one_error(small, tmp_path, stand_in, body, says):
    stand_in(f"def convert(**options):\n    {body}\n")
    with pytest.raises(ExportError, match=f"onnx2tf failed: {says}"):
        convert(small, "tflite", tmp_path, options=Options(size=(32, 32), via="onnx2tf"))
    assert not list(tmp_path.iterdir())


GIVEN = """
import pathlib, numpy, onnx

def convert(input_onnx_file_path, output_folder_path, batch_size, not_use_onnxsim, **options):
    sample = numpy.load("calibration_image_sample_data_20x128x128x3_float32.npy")
    assert (sample.shape, sample.dtype) == ((20, 128, 128, 3), "float32")
    assert [output.name for output in onnx.load(input_onnx_file_path).graph.output][:2] == ["mask", "side1"]
    assert (batch_size, not_use_onnxsim) == (1, True)
    out = pathlib.Path(output_folder_path)
    out.mkdir()
    (out / "batch_float32.tflite").write_bytes(b"TFL3")
    (out / "batch_float16.tflite").write_bytes(b"half")
"""


@pytest.mark.parametrize(("precision", "content"), [("fp32", b"TFL3"), ("fp16", b"half")])
def test_onnx2tf_is_given_our_graph_and_its_sample_and_asked_for_a_precision(
    small, tmp_path, stand_in, precision, content
):
    """It would fetch the sample from the network otherwise."""
    stand_in(GIVEN)
    options = Options(size=(32, 32), outputs="all", via="onnx2tf", precision=precision)
    FORMATS["tflite"].write(small, tmp_path / "a.tflite", FORMATS["tflite"].settle(options))
    assert (tmp_path / "a.tflite").read_bytes() == content
