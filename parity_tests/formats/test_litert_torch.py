"""`--via litert-torch`: the direct route from Torch to TFLite, through a tool in an environment of its own."""

import sys
from collections import Counter

import pytest
from support.agreement import largest_relative
from support.networks import SMALL, TINY, hard_checkpoint

from converters import FORMATS, Options, convert
from converters.formats.litert_torch_worker import BORROWED, _Borrowed
from converters.loading import read_source
from converters.tools import TOOLS
from u2net_zoo.errors import DownloadError, MissingExtraError, OptionError, UsageError

DIRECT = Options(size=(64, 96), via="litert-torch")


def operators(path) -> Counter:
    """How many of each kind a TFLite file has."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (graph,) = model.subgraphs
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return Counter(names[codes[operator.opcodeIndex]] for operator in graph.operators)


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="its packages have no wheels for Windows")
def test_it_is_a_direct_route_to_the_same_network_and_to_the_same_operations(small, tmp_path):
    """No transposition, no padding of its own: what a phone's graphics processor runs as a whole."""
    options = {"size": (64, 96), "outputs": "all"}
    (direct,) = convert(small, "tflite", tmp_path / "direct", options=Options(via="litert-torch", **options))
    (native,) = convert(small, "tflite", tmp_path / "native", options=Options(**options))
    assert direct.report.ok
    assert tuple(output.name for output in direct.report.outputs) == SMALL.outputs
    assert largest_relative(read_source(direct.path), small) <= 1e-6
    assert operators(direct.path) == operators(native.path)
    assert sum(operators(native.path).values()) == 119 + 51 + 38 + 33 + 11 + 7
    assert "TRANSPOSE" not in operators(native.path)


def test_without_its_environment_and_offline_nothing_is_written(tmp_path, home, monkeypatch):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    with pytest.raises(DownloadError, match="make it once with a network: u2zoo tools make litert-torch"):
        convert(hard_checkpoint(TINY), "tflite", tmp_path / "out", options=DIRECT)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"precision": "fp16"}, {"io": "image"}], ids=str)
def test_what_it_cannot_do_is_refused(options):
    with pytest.raises(OptionError, match="via native"):
        FORMATS["tflite"].settle(Options(via="litert-torch", **options))
    with pytest.raises(OptionError, match="cannot honour --via litert-torch; it has: native, onnx2tf"):
        FORMATS["savedmodel"].settle(DIRECT)


def test_a_system_without_its_wheels_is_told_so(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(UsageError, match=r"litert-torch: its packages do not exist for this system \(win32\)"):
        TOOLS["litert-torch"].check_python()


def test_without_torch_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.formats.litert_torch_route.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--via litert-torch.*'torch'.*pip install .*\[torch\]"):
        FORMATS["tflite"].write(hard_checkpoint(TINY), tmp_path / "a.tflite", FORMATS["tflite"].settle(DIRECT))


def test_of_another_environment_torch_alone_is_taken(tmp_path):
    for name in (*BORROWED, "jax", "numpy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    finder = _Borrowed(str(tmp_path))
    assert {name for name in (*BORROWED, "jax", "numpy") if finder.find_spec(name)} == set(BORROWED)
