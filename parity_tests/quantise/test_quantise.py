"""How few bits will do: how kernels are rounded, what a layer's rounding costs, and the search over the layers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.artifacts import nano
from support.commands import called
from support.data import NANO

from converters import FORMATS, Options, convert, sample_images
from converters.formats.onnx_graph import onnx_bytes
from converters.mask_errors import MaskBound, MaskErrors
from converters.planning.targets import check_options
from converters.quantise.equalise import equalised
from converters.quantise.mixed_precision import fewest, ranked, ranking_size, stricter
from converters.quantise.onnx_qdq import quantised
from converters.quantise.rounding import BITS, int8_codes, rounded
from converters.quantise.sensitivity import LayerCost, SensitivityAnalysis
from converters.torch_predictor import TorchPredictor
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import InputError, OptionError, ParityError

SIZE = (64, 64)


@pytest.fixture(scope="module")
def network() -> Checkpoint:
    return nano()


@pytest.fixture(scope="module")
def kernel() -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((8, 16, 3, 3)).astype(np.float32)
    return values * np.logspace(-9, 1, 8, dtype=np.float32)[:, None, None, None]


@pytest.fixture(scope="module")
def bench(network) -> SensitivityAnalysis:
    return SensitivityAnalysis(network, sample_images.tensors(SIZE)[:2])


@pytest.mark.parametrize("scheme", BITS)
def test_a_rounded_kernel_needs_no_more_than_its_bits_and_rounds_to_itself(kernel, scheme):
    result = rounded(kernel, scheme)
    groups = result if scheme == "int8" else [result]
    assert max(len(np.unique(group)) for group in groups) <= 1 << BITS[scheme]
    assert np.array_equal(rounded(result, scheme), result) or scheme != "int8"
    assert np.array_equal(rounded(kernel, scheme), result)


def test_int8_is_half_a_step_off_at_most(kernel):
    codes, scale = int8_codes(kernel)
    error = np.abs(codes * scale[:, None, None, None] - kernel).reshape(8, -1).max(axis=1)
    normal = np.abs(kernel).reshape(8, -1).max(axis=1) > 127 * 2.0**-14  # float16 loses digits below
    assert np.all(error[normal] <= 0.5 * scale[normal] * 1.13)  # 127/2048 of a step more: scales are float16
    assert np.array_equal(scale.astype(np.float16), scale)


def test_more_bits_are_nearer(kernel):
    errors = [np.abs(rounded(kernel, scheme) - kernel).mean() for scheme in ("palette4", "palette6", "palette8")]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_layer_measured_from_the_record_costs_what_a_whole_run_says(bench):
    for path in ("stage1.rebnconv1", "stage3d.rebnconvin", "stage1d.rebnconv1d"):
        kernels = {path: rounded(bench.kernels[path], "palette4")}
        (cost,) = bench.costs(kernels)
        whole = bench.errors(kernels)
        assert cost.mae > 1e-5
        assert cost.mae == pytest.approx(whole.mae, rel=1e-6)
        assert cost.iou == whole.iou


def test_the_layer_that_is_rounded_most_coarsely_costs_most(bench):
    """Of three layers that int8 hardly hurts, each in turn in 16 values, is named first."""
    paths = ["stage1.rebnconv2d", "stage3.rebnconv1", "stage4d.rebnconv1d"]
    for coarse in paths:
        kernels = {path: rounded(bench.kernels[path], "palette4" if path == coarse else "int8") for path in paths}
        costs = sorted(bench.costs(kernels), key=lambda cost: -cost.mae)
        assert costs[0].path == coarse
        assert costs[0].mae > 2 * costs[1].mae  # 9 and more, measured 2026-11-27


def cost(path: str, *, mae: float, size: int = 1000) -> LayerCost:
    return LayerCost(path, size, work=size, mae=mae, iou=1 - mae)


def test_the_layer_comes_first_whose_keeping_mends_most_for_what_it_stores():
    costs = [cost("b", mae=1), cost("a", mae=1), cost("large", mae=2, size=9000), cost("worst", mae=3, size=2000)]
    assert [each.path for each in ranked(costs)] == ["worst", "a", "b", "large"]


def test_layers_are_measured_at_160_pixels_at_most():
    assert ranking_size((64, 32)) == (64, 32)
    assert ranking_size((320, 320)) == (160, 160)
    assert ranking_size((512, 320)) == (160, 100)
    assert ranking_size((2000, 3)) == (160, 1)


def test_an_equalised_network_is_the_same_network_and_its_maps_reach_one(bench, network):
    level = equalised(network, bench.reach())
    x = bench.inputs[0].numpy()
    before, after = TorchPredictor(network)(x), TorchPredictor(level)(x)
    for name, mask in before.items():
        np.testing.assert_allclose(after[name], mask, rtol=0, atol=1e-4)
    reach = SensitivityAnalysis(level, [y.numpy() for y in bench.inputs]).reach()
    largest = max(float(values.max()) for path, values in reach.items() if "stage" in path)
    assert largest == pytest.approx(1, abs=1e-3)
    assert np.median(np.concatenate([v for p, v in reach.items() if p.endswith("d.rebnconv2d")])) > 0.9


def test_equal_kernels_are_quantised_one_by_one(network):
    """Two units of one kernel and one bias."""
    import onnx
    import onnxruntime

    folded = network.fold()
    twin, other = "stage5.rebnconv2.conv_s1", "stage5.rebnconv3.conv_s1"
    state = {**folded.state, **{f"{twin}.{k}": folded.state[f"{other}.{k}"] for k in ("weight", "bias")}}
    options = FORMATS["onnx"].settle(Options(size=(64, 64)))
    model = onnx.load_model_from_string(onnx_bytes(replace(folded, state=state), options))
    eight = quantised(model, [node.name for node in model.graph.node if node.op_type == "Conv"][1:])
    onnx.checker.check_model(eight)
    onnxruntime.InferenceSession(eight.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("needed", [0, 1, 5, 8, 11])
def test_the_search_keeps_no_layer_more_than_it_must(needed):
    order = [f"layer{n}" for n in range(11)]
    bound = MaskBound(0.99, 0.01, 0.97)

    def errors(kept):
        return MaskErrors(1.0, 1.0, 0.0) if len(kept) >= needed else MaskErrors(0.9, 0.5, 0.1)

    assert fewest(order, errors, bound, "int8")[0] == tuple(order[:needed])
    with pytest.raises(ParityError, match=r"int8: not kept: even with every layer .* IoU 0.9000 \(worst 0.5000\)"):
        fewest(order, lambda kept: MaskErrors(0.9, 0.5, 0.1), bound, "int8")


def test_the_search_aims_higher_than_the_gate():
    bound = MaskBound(0.99, 0.01, 0.97)
    assert stricter(bound).iou > bound.iou
    assert stricter(bound).worst > bound.worst
    assert stricter(bound).mae < bound.mae


def folder_of(tmp_path: Path, kind: str) -> Path:
    folder = tmp_path / "photographs"
    if kind != "missing":
        folder.mkdir()
    if kind == "texts":
        (folder / "notes.txt").write_text("no photograph")
    if kind == "damaged":
        (folder / "a.jpg").write_bytes(b"\xff\xd8 cut short")
    return folder


@pytest.mark.parametrize(
    ("kind", "says"),
    [("missing", "no such folder"), ("empty", "holds no photographs"), ("texts", "holds no photographs"),
     ("damaged", "a.jpg: cannot calibrate on it")],
)  # fmt: skip
def test_a_calibration_folder_that_does_not_serve_is_one_line(tmp_path, kind, says):
    folder, out = folder_of(tmp_path, kind), tmp_path / "out"
    options = Options((64, 64), precision="int8", calibration=folder)
    with pytest.raises(InputError, match=says) as raised:
        convert(NANO, "onnx", out, options=options)
    assert "\n" not in str(raised.value)
    assert not out.exists() or not list(out.iterdir())


def test_the_command_takes_a_folder_and_refuses_an_empty_one(tmp_path):
    done = called("convert", NANO, "--to", "onnx", "--precision", "int8", "--calibration", tmp_path, "-o", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}: holds no photographs to calibrate on\n"
    assert list(tmp_path.iterdir()) == []


def test_photographs_of_a_folder_are_spread_over_it(tmp_path):
    for n in range(60):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / f"{n:02}.png")
    names = [file.stem for file in sample_images.listed(tmp_path)]
    assert len(names) == sample_images.LIMIT
    assert (names[0], int(names[-1]) > 55) == ("00", True)
    assert sample_images.tensors((8, 8), tmp_path)[0].shape == (1, 3, 8, 8)


def test_options_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(OptionError, match="--calibration goes with a precision that is measured: int8"):
        FORMATS["onnx"].settle(Options(precision="fp16", calibration=tmp_path))
    with pytest.raises(OptionError, match="--precision int8 needs --opset 13 or later"):
        FORMATS["onnx"].settle(Options(precision="int8", opset=12))
    with pytest.raises(OptionError, match="--precision int8 goes with --via native"):
        FORMATS["tflite"].settle(Options(precision="int8", via="onnx2tf"))
    with pytest.raises(InputError, match="holds no photographs to calibrate on"):
        check_options([FORMATS["coreml"]], Options(precision="palette6", calibration=tmp_path))
