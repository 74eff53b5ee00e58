"""ONNX files that other makers quantised or halved: read, run, looked into, and called what they are."""

import numpy as np
import pytest
from support.artifacts import nano
from support.commands import called
from support.opening import Here
from support.quantised_onnx import BLOCK, quantised, weights_only
from support.quantising import few_photographs

from converters import FORMATS, Options
from converters.formats.onnx_constants import _multiply, dequantised
from converters.loading import read_source
from converters.verify.self_check import inspect
from converters.verify.verifier import Verifier
from u2net_zoo import Session
from u2net_zoo.errors import CheckpointError
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 64)
WHOLE = Options(size=SIZE, outputs="all")
HALF_STEP = 1.01 / 2 / 127  # of a kernel's largest weight
INTEGER = ["dynamic uint8", "QOperator int8 per channel", "QDQ uint8 per tensor"]
SLOW = [pytest.param(how, marks=pytest.mark.full) for how in ("QOperator uint8 per tensor", "QDQ int8 per channel")]


@pytest.fixture(scope="module")
def plain(made):
    return made.one("onnx", WHOLE).path


@pytest.fixture(scope="module")
def integer(plain, tmp_path_factory):
    """`integer(how)`: see `quantised`."""
    folder = tmp_path_factory.mktemp("quantised")

    def made(how):
        target = folder / f"{how}.onnx"
        return target if target.exists() else quantised(plain, target, how, SIZE)

    return made


def kernels_apart(found, expected) -> float:
    """Over the folded kernels: the largest difference, of the kernel's largest weight."""
    a, b = (each.fold().state for each in (found, expected))
    return max(float(np.abs(a[key] - b[key]).max() / np.abs(b[key]).max()) for key in b if key.endswith("weight"))


@pytest.mark.parametrize("how", [*INTEGER, *SLOW, "dynamic int8"])
def test_kernels_are_dequantised_to_within_half_a_step(small, integer, how):
    """onnxruntime runs no ConvInteger with signed kernels; they are read all the same."""
    found = read_source(integer(how))
    assert found.arch == small.arch
    assert 1e-4 < kernels_apart(found, small) <= HALF_STEP
    kind, place = how.split()[1], "per channel" if "channel" in how else "per tensor"
    assert found.meta["quantised"] == f"{kind} {place} in 119 of 119 convolutions"


@pytest.mark.parametrize("how", [*INTEGER, *SLOW])
def test_integer_files_run_and_biases_are_read(small, integer, plain, how):
    """A bias is rounded in steps of two scales. Measured on 2026-11-26: 2.8e-3 at most, and 1.6e-3 (mean) of masks."""
    path = integer(how)
    found, right = read_source(path).fold().state, small.fold().state
    assert max(np.abs(found[key] - right[key]).max() for key in right if key.endswith("bias")) < 5e-3
    x = np.random.default_rng(1).standard_normal((1, 3, *SIZE)).astype(np.float32)
    mask, expected = (FORMATS["onnx"].run(file)(x)["mask"] for file in (path, plain))
    assert (mask.dtype, mask.shape) == (np.float32, (1, 1, *SIZE))
    assert np.abs(mask - expected).mean() < 5e-3


ALONE = [("int8", 0, 2 / 255), ("uint8", BLOCK, 2 / 255), ("int4", BLOCK, 2 / 15)]


@pytest.mark.parametrize(("kind", "block", "step"), ALONE)
def test_weights_behind_dequantize_linear_agree_with_what_is_read(small, plain, tmp_path, kind, block, step):
    """With zero points, and with `block_size` of opset 21, the last block of a kernel cut short."""
    found, agreement = inspect(weights_only(plain, tmp_path / "w.onnx", kind, block))
    assert kernels_apart(found, small) <= 0.51 * step
    assert (agreement.ok, agreement.precision, len(agreement.outputs)) == (True, "fp32", 7)
    place = f"in blocks of {block}" if block else "per channel"
    assert found.meta["quantised"] == f"{kind} {place} in 119 of 119 convolutions"


def test_constants_that_would_grow_are_not_multiplied():
    """A column times a row, and a scale for blocks of 8 GB: both from a file of some bytes."""
    wide, high = np.ones((1, 50_000), np.float32), np.ones((50_000, 1), np.float32)
    with pytest.raises(ValueError, match="larger than both"):
        _multiply(None, [wide, high])
    codes, scale = np.ones((4, 2, 3, 3), np.int8), np.full((4, 1, 3, 3), 0.5, np.float32)
    assert (dequantised(codes, scale, axis=1, block=2**33) == 0.5).all()


def test_weights_that_the_graph_rounds_are_read_rounded(small, plain, tmp_path):
    """Quantization-aware training exports float weights, with QuantizeLinear and DequantizeLinear behind them."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(plain))
    scale = np.float32(0.01)
    model.graph.initializer.extend([numpy_helper.from_array(scale, "s"), numpy_helper.from_array(np.int8(0), "z")])
    for node in [node for node in model.graph.node if node.op_type == "Conv"]:
        name = node.input[1]
        node.input[1] = f"{name}_real"
        for kind, source, result in (("Dequantize", f"{name}_q", f"{name}_real"), ("Quantize", name, f"{name}_q")):
            model.graph.node.insert(0, helper.make_node(f"{kind}Linear", [source, "s", "z"], [result]))
    onnx.save(model, str(tmp_path / "aware.onnx"))
    found = read_source(tmp_path / "aware.onnx")
    assert found.meta["quantised"].startswith("int8 per tensor")
    for key, value in small.fold().state.items():
        if key.endswith("weight"):
            assert np.array_equal(found.fold().state[key], np.clip(np.rint(value / scale), -128, 127) * scale), key


def test_a_static_scale_before_conv_integer_is_taken_out(small, integer, tmp_path):
    """Other quantisers fix the input's scale: it then stands in the product of scales as a number."""
    import onnx
    from onnx import helper, numpy_helper

    model, fixed_at = onnx.load(str(integer("dynamic uint8"))), (np.float32(0.05), np.uint8(7))
    for node in [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]:
        scale, zero = (numpy_helper.from_array(v, n) for v, n in zip(fixed_at, node.output[1:], strict=True))
        model.graph.initializer.extend([scale, zero])
        fixed = helper.make_node("QuantizeLinear", [node.input[0], *node.output[1:]], [node.output[0]])
        place = list(model.graph.node).index(node)
        model.graph.node.remove(node)
        model.graph.node.insert(place, fixed)
    onnx.save(model, str(tmp_path / "static.onnx"))
    FORMATS["onnx"].run(tmp_path / "static.onnx")
    assert kernels_apart(read_source(tmp_path / "static.onnx"), small) <= HALF_STEP


@pytest.fixture(scope="module")
def rounded(nano_made, tmp_path_factory):
    """The bundled network in int8, float32 at work."""
    plain = nano_made.one("onnx", Options(size=(160, 160))).path
    return weights_only(plain, tmp_path_factory.mktemp("rounded") / "rounded.onnx", "int8")


def test_verify_calls_a_file_of_eight_bits_what_it_is(rounded):
    with few_photographs():
        verdict = Verifier(nano(), PROFILES["paper"], {}, opened=Here).verify(rounded)
    assert (verdict.ok, verdict.precision, verdict.diagnosis) == (True, "int8", None)


def test_info_shows_what_the_kernels_are_stored_in(rounded):
    shown = called("info", rounded, "--no-run").stdout
    assert "precision    int8 per channel in 119 of 119 convolutions (what the weights carry)" in shown


@pytest.mark.full
@pytest.mark.parametrize("how", [*INTEGER, *SLOW])
def test_what_integers_cost_is_explained_and_blamed_on_nothing_else(small, integer, how):
    """Beyond the bound: the network of the tests is a hard one to round."""
    path = integer(how)
    note = read_source(path).meta["quantised"]
    text = f"the arithmetic differs: computed with kernels of {note}; no known fault was found beside it"
    with few_photographs():
        verdict = Verifier(small, PROFILES["paper"], {}, opened=Here).verify(path)
        agreement = inspect(path)[1]
    assert (verdict.ok, verdict.precision) == (False, "int8")
    assert verdict.diagnosis.explanation.text() == text
    assert str(verdict.diagnosis.weights) == f"the checkpoint's, rounded: {note}"
    assert agreement.summary().endswith(text)


@pytest.fixture(scope="module")
def half(plain, tmp_path_factory):
    """float16 at both ends too."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    path = tmp_path_factory.mktemp("half") / "half.onnx"
    onnx.save(convert_float_to_float16(onnx.load(str(plain))), str(path))
    return path


def test_half_precision_at_both_ends_is_read_and_run(small, plain, half, cat):
    from onnxruntime import InferenceSession

    session = InferenceSession(str(half), providers=["CPUExecutionProvider"])
    assert {item.type for item in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float16)"}
    assert kernels_apart(read_source(half), small) <= 2**-11
    x = np.random.default_rng(1).standard_normal((1, 3, *SIZE)).astype(np.float32)
    ours, right = (FORMATS["onnx"].run(path)(x) for path in (half, plain))
    assert all(ours[name].dtype == np.float32 and np.abs(ours[name] - right[name]).mean() < 1e-3 for name in right)
    ours, right = (np.asarray(Session(path).mask(cat), int) for path in (half, plain))
    assert np.abs(ours - right).mean() < 1


@pytest.mark.full
def test_half_precision_at_both_ends_is_called_so(small, half):
    with few_photographs():
        agreement = inspect(half)[1]
        verdict = Verifier(small, PROFILES["paper"], {}, opened=Here).verify(half)
    assert (agreement.ok, agreement.precision) == (True, "fp16")
    assert (verdict.ok, verdict.precision, verdict.diagnosis) == (True, "fp16", None)


def test_a_damaged_scale_is_one_error(integer, tmp_path):
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(integer("QOperator int8 per channel")))
    node = next(node for node in model.graph.node if node.op_type == "QLinearConv")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[4])
    tensor.CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), tensor.name))
    onnx.save(model, str(tmp_path / "damaged.onnx"))
    with pytest.raises(CheckpointError, match=r"damaged\.onnx: damaged or not ONNX"):
        read_source(tmp_path / "damaged.onnx")
