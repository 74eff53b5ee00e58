"""Every registered format: written, proved, close to the authors' own outputs. A new format is tested by its name."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import ALL, SMALL, Golden, hard_checkpoint

from converters import FORMATS, Options, convert
from converters.base import DYNAMIC, describe
from converters.parity import Reference, compare, in_batches
from u2net_zoo.errors import MissingExtraError, OptionError

SIZES = {"320": (320, 320), "96x128": (96, 128)}  # odd sizes: the goldens below, at 65x47


def weight_bytes(path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files if file.suffix != ".xml")


def refused(fmt, options: Options) -> bool:
    """Whether the format declines this size; if so, with the words that say which it takes."""
    if not any(side % fmt.multiple for side in options.size):
        return False
    with pytest.raises(OptionError, match=f"cannot honour --size .*: multiples of {fmt.multiple}"):
        fmt.settle(options)
    return True


def tensor(fmt) -> str | None:
    """`--io tensor`, where there is a choice; pictures in and out are tested in test_image_io."""
    return "tensor" if "io" in fmt.choices else None


@pytest.fixture(params=ALL)
def fmt(request):
    return FORMATS[request.param]


def test_every_package_is_installed_where_tests_run(fmt):
    fmt.require()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_output_at_every_size(fmt, small, tmp_path, size):
    options = Options(size=size, outputs="all")
    if refused(fmt, options):
        return
    artifact = convert(small, [fmt.name], tmp_path, options=options)[0]
    assert artifact.path == fmt.target(tmp_path, "u2net-custom")
    assert artifact.bytes > 0
    predictor = fmt.run(artifact.path)
    assert artifact.report.ok
    assert {output.name for output in artifact.report.outputs} == set(SMALL.outputs) == set(predictor.outputs)


@pytest.mark.parametrize("batch", [1, 2, DYNAMIC], ids=lambda batch: describe(batch, "batch"))
def test_batches(fmt, small, tmp_path, batch):
    if batch == DYNAMIC and DYNAMIC not in fmt.choices.get("batch", (DYNAMIC,)):
        with pytest.raises(OptionError, match="cannot honour --batch dynamic"):
            fmt.settle(Options(batch=batch))
        return
    if "batch" not in fmt.choices:
        with pytest.raises(OptionError, match="it has: nothing to choose"):
            fmt.settle(Options(batch=batch))
        return
    options = Options(batch=batch, size=(64, 32), io=tensor(fmt))
    if refused(fmt, options):
        return
    predictor = fmt.run(convert(small, [fmt.name], tmp_path, options=options)[0].path)
    x = np.random.default_rng(0).standard_normal((3, 3, 64, 32)).astype(np.float32)
    together = in_batches(predictor, x)["mask"]
    assert together.shape == (3, 1, 64, 32)
    one_by_one = [in_batches(predictor, x[n : n + 1])["mask"] for n in range(3)]
    np.testing.assert_allclose(np.concatenate(one_by_one), together, rtol=0, atol=1e-5)


def test_the_mask_alone_is_the_default(fmt, small, tmp_path):
    predictor = fmt.run(convert(small, [fmt.name], tmp_path, options=Options(size=(32, 32)))[0].path)
    assert predictor.outputs == (SMALL.outputs if fmt.name in ("pth", "safetensors") else ("mask",))


def test_half_precision_keeps_the_masks_or_is_refused(fmt, small, tmp_path):
    """u2netp's weights lie on the fp16 grid already, so weights that do not are taken."""
    options = Options(precision="fp16", size=(320, 320), io=tensor(fmt))
    if "fp16" not in fmt.choices["precision"]:
        with pytest.raises(OptionError, match="cannot honour --precision fp16; it has: fp32"):
            fmt.settle(options)
        return
    half = convert(small, [fmt.name], tmp_path / "half", options=options)[0]
    full = convert(small, [fmt.name], tmp_path / "full", options=replace(options, precision="fp32"))[0]
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


@pytest.mark.parametrize("i", [0, 1], ids=["96x128", "65x47 batch 2"])
def test_goldens_of_the_authors_code(fmt, u2netp_golden: Golden, tmp_path, i):
    x = u2netp_golden.input(i)
    options = Options(size=x.shape[2:], outputs="all")
    if refused(fmt, options):
        return
    artifact = convert(u2netp_golden.checkpoint, [fmt.name], tmp_path, options=options)[0]
    results = in_batches(fmt.run(artifact.path), x)
    for (name, expected), noise in zip(u2netp_golden.outputs(i).items(), u2netp_golden.noise(i), strict=True):
        assert np.abs(results[name] - expected).max() <= 3 * noise + 1e-6, name


@pytest.mark.parametrize("name", ["savedmodel", "tflite"])
def test_onnx2tf_is_a_second_route_to_the_same_network(small, tmp_path, name):
    """At a size where no map is as high or wide as it has channels: onnx2tf tells the axes apart by their lengths."""
    size = (160, 224)
    native, second = (
        convert(small, [name], tmp_path / via, options=Options(size=size, outputs="all", via=via))[0]
        for via in ("native", "onnx2tf")
    )
    x = np.random.default_rng(1).standard_normal((1, 3, *size)).astype(np.float32)
    a, b = (in_batches(FORMATS[name].run(artifact.path), x) for artifact in (native, second))
    assert set(a) == set(b) == set(SMALL.outputs)
    for output in native.report.outputs:  # each may stray from float64 by what is allowed, so they by twice that
        np.testing.assert_allclose(a[output.name], b[output.name], rtol=0, atol=2 * output.allowed)


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


def test_all_formats_of_full_u2net(tmp_path):
    """At 96x128, where it is quick; at 320 it is what `make bench` measures."""
    golden = Golden("u2net")
    artifacts = convert(golden.checkpoint, "all", tmp_path, options=Options(size=(96, 128), outputs="all"))
    for artifact in artifacts:
        results = in_batches(FORMATS[artifact.format].run(artifact.path), golden.input(0))
        for (name, expected), noise in zip(golden.outputs(0).items(), golden.noise(0), strict=True):
            assert np.abs(results[name] - expected).max() <= 3 * noise + 1e-6, (artifact.format, name)


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


def test_the_reference_is_the_authors_network(u2netp_golden: Golden):
    """The yardstick itself, by the same path that the gate takes."""
    reference = Reference(u2netp_golden.checkpoint, (96, 128))
    reference.inputs = u2netp_golden.input(0)
    for name, expected in u2netp_golden.outputs(0).items():
        np.testing.assert_allclose(reference.exact[name], expected, rtol=0, atol=3.1e-8)
    assert compare(reference.single, reference).ok
