"""TFLite in integers from end to end: kernels fitted with error feedback, no float in the file, masks in the bound."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint
from support.quantising import few_photographs

from converters import FORMATS, Options, convert, sample_images
from converters.embedded import embedded_of, read_embedded
from converters.formats.tflite_graph import integer_bytes
from converters.formats.tflite_metadata import notes
from converters.loading import read_source
from converters.mask_errors import MaskBound
from converters.options import W8A8
from converters.quantise.equalise import equalised
from converters.quantise.error_feedback import Moments, feed_back, fitted
from converters.quantise.integer_fit import fit
from converters.quantise.integer_network import COPIES, FEATURES, Recipe, Steps
from converters.quantise.integer_search import UNSEEN, plan_integer_network
from converters.quantise.integer_walk import masks
from converters.quantise.pixel_input import from_pixels, middle, shifted, to_pixels
from converters.quantise.sensitivity import SensitivityAnalysis
from converters.torch_predictor import TorchPredictor
from u2net_zoo.errors import ArtifactError, OptionError, ParityError
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 96)
FINER = frozenset(("stage2d.rebnconv2d", "stage2d.rebnconv1d"))
TFLITE = FORMATS["tflite"]
OPTIONS = TFLITE.settle(Options(size=SIZE, precision=W8A8, outputs="all"))
INTEGERS = {2, 3, 4, 7, 9}  # of `TensorType`: int32, uint8, int64, int16, int8
ANY = MaskBound(iou=-2.0, mae=1.0, worst=-2.0)  # which every network keeps


@pytest.fixture(scope="module")
def network():
    return hard_checkpoint(TINY).fold()


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    return sample_images.tensors(SIZE)[:2]


@pytest.fixture(scope="module")
def integers(network, inputs):
    """The network in integers, two units of it in 16 bits."""
    level = equalised(network, SensitivityAnalysis(network, inputs).reach())
    return fit(level, inputs, Steps.between(-2.2, 2.7), Recipe(FINER)).network


@pytest.fixture(scope="module")
def path(integers, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("integers") / "tiny.tflite"
    path.write_bytes(integer_bytes(integers, OPTIONS, {"u2zoo.precision": W8A8}))
    return path


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, np.ndarray]:
    """A kernel (4, 18), and inputs (18, 500) that vary together, as those of neighbouring pixels do."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((3, 500))
    inputs = np.abs(rng.standard_normal((18, 3)) @ common + 0.2 * rng.standard_normal((18, 500)))
    return rng.standard_normal((4, 18)), inputs


def errors(kernel, inputs, codes, scale, bias) -> np.ndarray:
    return codes * scale[:, None].astype(np.float64) @ inputs + bias[:, None] - kernel @ inputs


def test_rounding_errors_cancel_instead_of_adding_up(samples):
    kernel, inputs = samples
    centred = inputs - inputs.mean(1, keepdims=True)
    values = kernel / (np.abs(kernel).max(1, keepdims=True) / 20)
    codes = feed_back(values, centred @ centred.T / 500 + 1e-3 * np.eye(18), 20)
    fed, alone = (np.square((each - values) @ centred).mean() for each in (codes, np.rint(values)))
    assert np.array_equal(codes, np.rint(codes))
    assert fed < alone / 3  # 0.21 of it, measured 2026-11-26


def test_a_fitted_kernel_passes_no_error_of_the_mean_on(samples):
    kernel, inputs = samples
    shifted = inputs + 0.3  # what units before it got wrong
    found = fitted(kernel, Moments.of(shifted, kernel @ inputs), pull=0.1, copies=1)
    wrong = found[0] * found[1][:, None].astype(np.float64) @ shifted + found[2][:, None] - kernel @ inputs
    assert np.abs(wrong.mean(1)).max() < 1e-6
    assert np.abs(found[0]).max() == 127


@pytest.mark.parametrize("copies", [1, COPIES])
def test_copies_of_an_input_give_a_weight_more_values(samples, copies):
    kernel, inputs = samples
    found = fitted(kernel, Moments.of(inputs, kernel @ inputs), pull=1e9, copies=copies)
    step = np.abs(kernel).max(1) / 127 / copies
    assert np.allclose(found[1], step, rtol=1e-5)
    assert np.abs(found[0]).max() == 127 * copies


def test_zero_is_a_whole_number_of_every_kind_of_map():
    for steps in (*FEATURES.values(), Steps.between(-2.2, 2.7), Steps.between(0.0, 6.0)):
        assert steps.real(steps.whole(np.zeros(1))) == 0
        assert steps.as_kind("int16").real(steps.as_kind("int16").whole(np.zeros(1))) == 0


def test_what_goes_below_zero_does_so_in_integers_of_any_width():
    for kind, other in (("int8", "int16"), ("int16", "int8")):
        logits = Steps.between(-12.0, 12.0, kind)
        there = logits.as_kind(other)
        assert there.dtype == other
        for value in (-11.5, 0.0, 11.5):
            assert abs(float(there.real(there.whole(np.array(value)))) - value) <= 0.6 * max(there.scale, logits.scale)


@pytest.mark.parametrize("finer", [("side1",), ("side2", "outconv"), ("stage1.rebnconvin",)], ids=str)
def test_more_bits_anywhere_spoil_nothing(network, inputs, finer):
    """Heads and the first unit, whose maps go below 0. Measured 2026-11-26: 0.0016 and less either way."""
    analysis = SensitivityAnalysis(network, inputs)
    level = equalised(network, analysis.reach())
    found = fit(level, inputs, Steps.between(-2.2, 2.7), Recipe(frozenset(finer))).network
    apart = [float(np.abs(a - b).mean()) for a, b in zip(masks(found, inputs), analysis.masks, strict=True)]
    assert max(apart) < 0.003


def test_a_file_in_integers_holds_no_float(path):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (graph,) = model.subgraphs
    assert {tensor.type for tensor in graph.tensors} <= INTEGERS
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    kinds = {names[code.builtinCode] for code in model.operatorCodes}
    assert kinds == {"CONV_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "CONCATENATION", "ADD", "LOGISTIC", "QUANTIZE"}
    wide = [tensor for tensor in graph.tensors if tensor.type == schema.TensorType.INT16]
    assert wide
    assert len(wide) < len(graph.tensors) / 4


@pytest.mark.parametrize("place", [1, -1])
def test_a_map_that_no_machine_holds_is_refused_before_the_runtime_sees_it(path, tmp_path, place):
    """One bit in the shape of a map: the runtime needed 20 s for 8.6 GB."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    maps = [tensor for tensor in model.subgraphs[0].tensors if len(tensor.shape) == 4 and not tensor.buffer]
    maps[place].shape = [maps[place].shape[0] | 1 << 23, *maps[place].shape[1:]]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "large.tflite").write_bytes(builder.Output())
    with pytest.raises(ArtifactError, match=r"large\.tflite: it makes a tensor of shape \[8388609, "):
        TFLITE.run(tmp_path / "large.tflite")


def test_a_runtime_for_integers_computes_what_the_search_saw(integers, path, inputs):
    predictor = TFLITE.run(path)
    assert predictor.outputs == integers.arch.outputs
    for x, mask in zip(inputs, masks(integers, inputs), strict=True):
        found = predictor(x)["mask"][0]
        assert found.shape == mask.shape
        assert np.abs(found - mask).mean() < 0.005
        assert np.ptp(mask) > 0.3


def test_the_same_network_is_the_same_file(integers, path):
    assert integer_bytes(integers, OPTIONS, {"u2zoo.precision": W8A8}) == path.read_bytes()


def test_kernels_of_integers_are_read_back_whatever_copies_they_are_stored_in(integers, path):
    found = read_source(path)
    assert found.fold().arch == integers.arch
    count = len(integers.units)
    assert found.meta["arithmetic"] == f"int8 in {count - 2} of {count} convolutions, int16 activations in 2"
    state = found.fold().state
    for unit in integers.arch.units():
        expected = integers.units[unit.path]
        assert np.allclose(state[f"{unit.conv_path}.weight"], expected.kernel, rtol=1e-6, atol=0), unit.path
        steps = expected.scale * expected.given.scale
        assert (np.abs(state[f"{unit.conv_path}.bias"] - expected.bias) <= 0.51 * steps).all(), unit.path


@pytest.mark.parametrize("name", ["paper", "portrait", "isnet"])
def test_a_network_of_pixels_is_the_network_of_the_normalised_tensor(network, name):
    """A grey picture, as the padding is: there is no edge then. And there and back is the network itself."""
    profile = replace(PROFILES[name], by_maximum=False)
    pixels = np.full((*SIZE, 3), middle(profile), np.uint8)
    of_pixels = to_pixels(network, profile)
    given, wanted = shifted(pixels, profile), profile.normalised(pixels)
    inside = np.s_[..., 8:-8, 8:-8]
    first = network.arch.units()[0].path
    found, expected = (
        dict(TorchPredictor(each).taps(x, network.arch))[first] for each, x in ((of_pixels, given), (network, wanted))
    )
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-5)
    back = from_pixels(of_pixels, profile)
    for key, value in network.state.items():
        np.testing.assert_allclose(back.state[key], value, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def pictures(network, store):
    """As the command writes it, of a bound that any network keeps."""

    def make(folder):
        with few_photographs(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(TFLITE), "bounds", {W8A8: ANY})
            return convert(network, "tflite", folder, name="tiny", options=Options(SIZE, precision=W8A8, io="image"))[0]

    return store.once("integers of pictures", make)


def test_pixels_go_in_and_grey_levels_come_out(pictures):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(pictures.path))
    (given,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (given["dtype"], answered["dtype"]) == (np.uint8, np.uint8)
    assert list(given["shape"]) == [1, *SIZE, 3]
    assert [file.name for file in pictures.beside] == ["TinyMask.kt"]
    embedded = read_embedded(notes(pictures.path.read_bytes()))
    assert (embedded.profile.by_maximum, embedded.profile.stretch, embedded.precision) == (False, False, W8A8)
    assert pictures.report.pixels.mae < 0.006


def test_weights_behind_pixels_are_read_back_as_the_profile_has_them(pictures, network):
    """A kernel is off by what it was fitted by; normalised or not it would be off by a factor of four."""
    found = read_source(pictures.path).fold()
    first = f"{network.arch.units()[0].conv_path}.weight"
    assert found.fold().arch == network.arch
    largest = np.abs(network.state[first]).max()
    factors, ones = (np.sqrt(np.square(each.state[first]).sum((1, 2, 3))) for each in (found, network))
    factors = factors / ones
    apart = found.state[first] / factors[:, None, None, None] - network.state[first]
    assert np.abs(apart).max() < 0.1 * largest


def test_a_bound_that_integers_miss_fails_and_leaves_nothing(network, tmp_path, monkeypatch):
    monkeypatch.setattr(type(TFLITE), "bounds", {W8A8: MaskBound(1.0, 0.0, 1.0)})
    with few_photographs(1), pytest.raises(ParityError, match=r"w8a8: not kept: .* IoU [01]\.\d+ \(worst"):
        convert(network, "tflite", tmp_path, options=Options((32, 32), precision=W8A8))
    assert list(tmp_path.iterdir()) == []


def test_the_plan_tells_how_masks_gain_from_layers_in_16_bits(network):
    """The first bound is kept by int8 alone; the second one is 0.8 of what that loses."""
    options = TFLITE.settle(Options((32, 32), precision=W8A8))
    with few_photographs(1):
        _, plan = plan_integer_network(network, options, ANY, None)
        assert plan.summary() == f"all {len(network.arch.units())} layers in int8"
        stricter = replace(ANY, mae=0.8 * plan.errors.mae / UNSEEN)
        found, finer = plan_integer_network(network, options, stricter, None)
    assert [trial["layers"] for trial in plan.to_json()["frontier"]] == [0]
    frontier = finer.to_json()["frontier"]
    assert (frontier[0]["layers"], frontier[0]["mae"]) == (0, plan.errors.mae)
    assert finer.errors.mae <= 0.8 * plan.errors.mae
    wide = [path for path, unit in found.units.items() if unit.answered.dtype == np.int16]
    assert sorted(wide) == sorted(finer.kept)
    assert finer.summary().startswith(
        f"{len(wide)} of {len(found.units)} layers in 16 bits ({finer.kept[0]} costs IoU "
    )


def test_what_integers_cannot_do_is_refused(network):
    with pytest.raises(OptionError, match="--minmax divides, which --precision w8a8 cannot"):
        TFLITE.settle(replace(OPTIONS, outputs="mask", io="image", stretch=True))
    with pytest.raises(OptionError, match="--precision w8a8 goes with --via native"):
        TFLITE.settle(Options(precision=W8A8, via="onnx2tf"))
    classes = replace(network.arch, final="none")
    with pytest.raises(OptionError, match="the network answers no probability; take --io tensor"):
        TFLITE.check(replace(network, arch=classes), replace(OPTIONS, outputs="mask", io="image", profile="paper"))
    assert embedded_of(network.arch, replace(OPTIONS, outputs="mask", io="image")).profile.by_maximum is False
