"""u2net and IS-Net at their published size: in Torch, and through the formats, against figures of float64."""

from dataclasses import replace

import pytest
from support.agreement import largest_relative
from support.artifacts import ALL
from support.goldens import FLOAT32, recorded
from support.networks import hard_checkpoint

from converters import FORMATS, Options, convert
from converters.loading import read_source
from converters.parity import in_batches
from converters.torch_predictor import TorchPredictor
from u2net_zoo.arch import U2NET
from u2net_zoo.errors import OptionError

NETWORKS = ("u2net", "isnet")
SIZES = [
    pytest.param(0, id="96x128"),
    pytest.param(1, id="65x47 batch 2"),
    pytest.param(2, id="320x320", marks=pytest.mark.full),  # half a minute and 3 GB in float64
]


@pytest.mark.parametrize("i", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_float64_gives_the_figures(name, i):
    """The authors' were kept as float32, the project's as they are."""
    golden = recorded(name)
    for output, expected in golden.outputs(i).items():
        allowed = FLOAT32 if expected.by == "authors" else 1e-9
        assert expected.error(golden.exact(i)[output]) <= allowed, output


@pytest.mark.parametrize("folded", [False, True], ids=["eager", "folded"])
@pytest.mark.parametrize("i", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_float32_stays_at_the_noise_floor(name, i, folded):
    golden = recorded(name)
    assert golden.beyond(i, TorchPredictor(golden.checkpoint, fold=folded)(golden.input(i))) == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_answers_the_figures(name, tmp_path):
    """At an odd size in a batch of two; a file that no gate has looked at."""
    golden, onnx = recorded(name), FORMATS["onnx"]
    options = onnx.settle(Options(batch=2, size=golden.input(1).shape[2:], outputs="all"))
    onnx.write(golden.checkpoint, tmp_path / "a.onnx", options)
    results = in_batches(onnx.run(tmp_path / "a.onnx"), golden.input(1))
    assert tuple(results) == golden.arch.outputs
    assert golden.beyond(1, results) == {}


@pytest.mark.full
@pytest.mark.parametrize("format", ALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_format_answers_the_figures(name, format, tmp_path):
    """At 96x128, where it is quick; at 320 it is what `make bench` measures."""
    golden, options = recorded(name), Options(size=(96, 128), outputs="all")
    if format == "mlmodel" and golden.arch.stride > 32:  # its resizes of IS-Net are by whole factors from 64 on
        with pytest.raises(OptionError, match=r"cannot honour --size 96x128: multiples of 64 for this network"):
            convert(golden.checkpoint, format, tmp_path, options=options)
        return
    (artifact,) = convert(golden.checkpoint, format, tmp_path, options=options)
    assert largest_relative(read_source(artifact.path), golden.checkpoint) <= 1e-6
    assert golden.beyond(0, in_batches(FORMATS[format].run(artifact.path, exact=True), golden.input(0))) == {}


PHONES = [("executorch", "fp32"), ("mnn", "fp32"), ("mnn", "fp16"), ("tflite", "fp32"), ("ncnn", "fp32")]


@pytest.mark.full
@pytest.mark.parametrize(("format", "precision"), PHONES)
def test_four_classes_of_clothes_are_within_the_formats_class(format, precision, tmp_path):
    """The gate judges the logits by themselves; what is read back is the network of four classes."""
    cloth = hard_checkpoint(replace(U2NET, out_ch=4, final="none"))
    options = Options(size=(96, 128), outputs="all", precision=precision)
    (artifact,) = convert(cloth, format, tmp_path, options=options)
    assert artifact.report.ok
    found = read_source(artifact.path)
    assert (found.fold().arch, found.arch.out_ch, found.arch.final) == (cloth.fold().arch, 4, "none")
    assert largest_relative(found, cloth) <= (2e-3 if precision == "fp16" else 1e-6)
