"""Every registered format: written, proved, with every option it has. A new format is tested by its name.

The authors' own outputs are in test_goldens.py. Formats of the same options are converted together, so that the float64
reference is computed once for all of them.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest
from conftest import ALL, SMALL, hard_checkpoint

from converters import FORMATS, Artifact, Options, convert
from converters.base import DYNAMIC, Format
from converters.parity import in_batches
from u2net_zoo.errors import MissingExtraError, OptionError


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    """`made(options)`: artifacts by format, of every format that can honour the options; each set is made once."""

    @functools.cache
    def make(options: Options) -> dict[str, Artifact]:
        able = [name for name in ALL if honoured(FORMATS[name], options)]
        folder = tmp_path_factory.mktemp("made")
        return {artifact.format: artifact for artifact in convert(small, able, folder, options=options)}

    return make


def honoured(fmt: Format, options: Options) -> bool:
    try:
        fmt.settle(options)
    except OptionError:
        return False
    return True


def weight_bytes(path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files if file.suffix != ".xml")


@pytest.fixture(params=ALL)
def fmt(request):
    return FORMATS[request.param]


def test_every_package_is_installed_where_tests_run(fmt):
    fmt.require()


def test_the_mask_alone_is_the_default(fmt, made):
    artifact = made(Options(size=(32, 32)))[fmt.name]
    assert artifact.path.name == fmt.target(artifact.path.parent, "u2net-custom").name
    assert artifact.bytes > 0
    assert artifact.report.ok
    predictor = fmt.run(artifact.path)
    assert predictor.outputs == (SMALL.outputs if fmt.name in ("pth", "safetensors") else ("mask",))


def test_batches_of_any_size_or_a_refusal(fmt, made):
    """Each picture of a batch is answered as if it came alone."""
    options = Options(batch=DYNAMIC, size=(64, 32), outputs="all")
    if DYNAMIC not in fmt.choices.get("batch", ()):
        says = "cannot honour --batch dynamic" if "batch" in fmt.choices else "it has: nothing to choose"
        with pytest.raises(OptionError, match=says):
            fmt.settle(options)
        return
    predictor = fmt.run(made(options)[fmt.name].path)
    x = np.random.default_rng(0).standard_normal((3, 3, 64, 32)).astype(np.float32)
    together = in_batches(predictor, x)["mask"]
    assert together.shape == (3, 1, 64, 32)
    one_by_one = [in_batches(predictor, x[n : n + 1])["mask"] for n in range(3)]
    np.testing.assert_allclose(np.concatenate(one_by_one), together, rtol=0, atol=1e-5)


def test_half_precision_keeps_the_masks_or_is_refused(fmt, made):
    """u2netp's weights lie on the fp16 grid already, so weights that do not are taken."""
    options = Options(precision="fp16", size=(320, 320), outputs="all")
    if "fp16" not in fmt.choices["precision"]:
        with pytest.raises(OptionError, match="cannot honour --precision fp16; it has: fp32"):
            fmt.settle(options)
        return
    half, full = made(options)[fmt.name], made(Options(size=(32, 32)))[fmt.name]  # weights are as many at any size
    # Without the XML of OpenVINO, whose conversions to float32 outweigh the weights of a network as small as this one.
    assert weight_bytes(half.path) < weight_bytes(full.path)
    assert half.report.masks.ok


def test_no_option_is_ignored(fmt):
    for asked in (Options(precision="fp8"), Options(io="bitmap"), Options(opset=3), Options(via="magic")):
        with pytest.raises(OptionError, match=f"format '{fmt.name}' cannot honour --"):
            fmt.settle(asked)


def test_a_missing_package_names_its_extra(fmt, monkeypatch):
    monkeypatch.setattr("converters.base.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"pip install -c constraints.txt -e '.\[{fmt.extra}\]'"):
        fmt.require()


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_opsets(small, tmp_path, opset):
    import onnx

    path = convert(small, "onnx", tmp_path, options=Options(opset=opset, size=(64, 64)))[0].path
    assert onnx.load(path).opset_import[0].version == opset


def test_an_onnx_graph_holds_the_network_and_nothing_else(small, tmp_path):
    import onnx

    path = convert(small, "onnx", tmp_path, options=Options(size=(64, 64)))[0].path
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert kinds <= {"Conv", "Relu", "MaxPool", "Resize", "Concat", "Add", "Sigmoid", "Constant"}


def test_a_class_per_channel(tmp_path):
    arch = replace(SMALL, out_ch=4, final="none")
    artifact = convert(hard_checkpoint(arch), "onnx", tmp_path, options=Options(size=(64, 64)))[0]
    predictor = FORMATS["onnx"].run(artifact.path)
    result = predictor(np.zeros((1, 3, 64, 64), np.float32))["mask"]
    assert result.shape == (1, 4, 64, 64)


def test_other_input_channels(tmp_path):
    from u2net_zoo.arch import two_level

    kinds, ups = ("7", "6", "5", "4", "4F", "4F"), ("4F", "4", "5", "6", "7")
    arch = two_level("grey", [(k, 4, 8) for k in kinds], [(k, 4, 8) for k in ups], in_ch=1)
    assert convert(hard_checkpoint(arch), "onnx", tmp_path, options=Options(size=(64, 64)))[0].report.ok
