"""Every registered format: written, proved, with every option it has. A new format is tested by its name.

The authors' own outputs are in parity/test_goldens.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from support.artifacts import ALL, WEIGHTS_ALONE
from support.lasting import full_for
from support.networks import TINY, hard_checkpoint

from converters import FORMATS, Options, convert
from converters.loading import read_source
from converters.options import DYNAMIC
from converters.parity import in_batches
from u2net_zoo.arch import U2NET_NANO, two_level
from u2net_zoo.errors import MissingExtraError, OptionError

WHOLE = Options(size=(64, 64), outputs="all")
BATCHES = Options(size=(64, 64), outputs="all", batch=DYNAMIC)
CLASSES = ("onnx", "mnn", "executorch")  # where a class per channel is quick to try
HALVES = [name for name in ALL if "fp16" in FORMATS[name].choices["precision"]]


def weight_bytes(path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files if file.suffix != ".xml")


@pytest.fixture(params=ALL)
def fmt(request):
    return FORMATS[request.param]


def test_every_package_is_installed_where_tests_run(fmt):
    fmt.require()


def test_the_mask_alone_is_the_default(fmt, nano_made):
    artifact = nano_made.one(fmt.name)
    assert artifact.path.name == fmt.target(artifact.path.parent, "u2net_nano").name
    assert artifact.bytes > 0
    assert artifact.report.ok
    predictor = fmt.run(artifact.path)
    assert predictor.outputs == (U2NET_NANO.outputs if fmt.name in WEIGHTS_ALONE else ("mask",))


def test_a_network_without_a_name_gets_one(small, tmp_path):
    (artifact,) = convert(small, "safetensors", tmp_path, options=Options(size=(32, 32)))
    assert artifact.path.name == "u2net-custom.safetensors"


DYNAMICS = [name for name in ALL if DYNAMIC in FORMATS[name].choices.get("batch", ())]


@pytest.mark.parametrize("name", full_for(DYNAMICS, "h5", "keras", "coreai"))
def test_each_picture_of_a_batch_is_answered_as_if_it_came_alone(name, made):
    predictor = FORMATS[name].run(made.one(name, BATCHES).path)
    assert predictor.batch is None
    x = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    together = in_batches(predictor, x)["mask"]
    assert together.shape == (3, 1, 64, 64)
    one_by_one = [in_batches(predictor, x[n : n + 1])["mask"] for n in range(3)]
    np.testing.assert_allclose(np.concatenate(one_by_one), together, rtol=0, atol=1e-5)


def test_a_batch_of_any_size_is_honoured_or_refused(fmt):
    if DYNAMIC in fmt.choices.get("batch", ()):
        assert fmt.settle(BATCHES).batch == DYNAMIC
        return
    says = "cannot honour --batch dynamic" if "batch" in fmt.choices else "it has: nothing to choose"
    with pytest.raises(OptionError, match=says):
        fmt.settle(BATCHES)


@pytest.mark.parametrize("size", [(96, 128), pytest.param((320, 320), marks=pytest.mark.full)], ids=str)
@pytest.mark.parametrize("name", full_for(HALVES, "tflite", "coreml", "coreai"))
def test_half_precision_keeps_the_masks(name, size, made):
    """u2netp's weights lie on the fp16 grid already, so weights that do not are taken."""
    half, whole = made.one(name, Options(precision="fp16", size=size, outputs="all")), made.one(name, WHOLE)
    # Weights are as many at any size. Without the XML of OpenVINO, whose conversions to float32 outweigh the weights of
    # a network as small as this one.
    assert weight_bytes(half.path) < weight_bytes(whole.path)
    assert half.report.masks.ok


@pytest.mark.parametrize("name", sorted(set(ALL) - set(HALVES)))
def test_half_precision_is_refused_by_the_others(name):
    with pytest.raises(OptionError, match="cannot honour --precision fp16; it has: fp32"):
        FORMATS[name].settle(Options(precision="fp16"))


def test_no_option_is_ignored(fmt):
    for asked in (Options(precision="fp8"), Options(io="bitmap"), Options(opset=3), Options(via="magic")):
        with pytest.raises(OptionError, match=f"format '{fmt.name}' cannot honour --"):
            fmt.settle(asked)


def test_a_missing_package_names_its_extra(fmt, monkeypatch):
    monkeypatch.setattr("converters.engines.runnable.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"pip install -c constraints.txt -e '.\[{fmt.extra}\]'"):
        fmt.require()


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_opsets(made, opset):
    import onnx

    path = made.one("onnx", Options(opset=opset, size=(64, 64))).path
    assert onnx.load(path).opset_import[0].version == opset


def test_an_onnx_graph_holds_the_network_and_nothing_else(made):
    import onnx

    kinds = {node.op_type for node in onnx.load(made.one("onnx", WHOLE).path).graph.node}
    assert kinds <= {"Conv", "Relu", "MaxPool", "Resize", "Concat", "Add", "Sigmoid", "Constant"}


@pytest.mark.parametrize(
    "name", [*CLASSES, *(pytest.param(n, marks=pytest.mark.full) for n in ALL if n not in CLASSES)]
)
def test_a_class_per_channel(name, tmp_path):
    network = hard_checkpoint(replace(TINY, out_ch=4, final="none"))
    options = Options(size=(64, 64), io="tensor" if "io" in FORMATS[name].choices else None)
    artifact = convert(network, name, tmp_path, options=options)[0]
    result = FORMATS[name].run(artifact.path, exact=True)(np.zeros((1, 3, 64, 64), np.float32))
    assert next(iter(result.values())).shape == (1, 4, 64, 64)
    assert read_source(artifact.path).fold().state.keys() == network.fold().state.keys()


def test_other_input_channels(tmp_path):
    kinds, ups = ("7", "6", "5", "4", "4F", "4F"), ("4F", "4", "5", "6", "7")
    arch = two_level("grey", [(k, 4, 8) for k in kinds], [(k, 4, 8) for k in ups], in_ch=1)
    assert convert(hard_checkpoint(arch), "onnx", tmp_path, options=Options(size=(64, 64)))[0].report.ok
