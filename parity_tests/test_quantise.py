"""Fewer bits: layers are measured on photographs, and the few that carry the damage stay, so that the bound holds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import u2zoo
from PIL import Image

from converters import FORMATS, Options, convert
from converters.base import MaskBound
from converters.inspection import inspect
from converters.onnx_format import _exported
from converters.proof import MaskErrors
from converters.quantise import onnx_plan, photographs, plan
from converters.quantise.equalise import equalised
from converters.quantise.onnx_qdq import quantised
from converters.quantise.plan import fewest, stricter
from converters.quantise.rounding import BITS, int8_codes, rounded
from converters.quantise.sensitivity import Bench
from converters.sources import read_source
from converters.torch_predictor import TorchPredictor
from converters.verify import Verifier
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import InputError, OptionError, ParityError
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 64)
WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "u2net_nano.safetensors"
WRITTEN = [("coreml", "int8"), ("coreml", "palette4"), ("tflite", "int8"), ("onnx", "int8")]


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    return read_source(WEIGHTS)


@pytest.fixture(scope="module")
def kernel() -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((8, 16, 3, 3)).astype(np.float32)
    return values * np.logspace(-9, 1, 8, dtype=np.float32)[:, None, None, None]


@pytest.fixture(scope="module")
def bench(nano) -> Bench:
    return Bench(nano, photographs.tensors((64, 64))[:2])


@pytest.fixture(scope="module")
def written(nano, tmp_path_factory) -> dict:
    """The bundled network at reduced precision, each file proved; small pictures make for lower IoU than real ones."""
    folder = tmp_path_factory.mktemp("quantised")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "BUNDLED", photographs.BUNDLED[:2])
        for module in (plan, onnx_plan):
            patch.setattr(module, "RANKED_ON", 1)
        for name in ("coreml", "tflite", "onnx"):
            patch.setattr(type(FORMATS[name]), "bounds", dict.fromkeys(BITS, MaskBound(0.9, 0.05, 0.8)))
        return {
            (name, precision): convert(
                nano,
                name,
                folder / precision,
                options=Options(SIZE, io="image" if name == "onnx" else "tensor", precision=precision),
            )[0]
            for name, precision in WRITTEN
        }


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


def test_an_equalised_network_is_the_same_network_and_its_maps_reach_one(bench, nano):
    level = equalised(nano, bench.reach())
    x = bench.inputs[0].numpy()
    before, after = TorchPredictor(nano)(x), TorchPredictor(level)(x)
    for name, mask in before.items():
        np.testing.assert_allclose(after[name], mask, rtol=0, atol=1e-4)
    reach = Bench(level, [y.numpy() for y in bench.inputs]).reach()
    largest = max(float(values.max()) for path, values in reach.items() if "stage" in path)
    assert largest == pytest.approx(1, abs=1e-3)
    assert np.median(np.concatenate([v for p, v in reach.items() if p.endswith("d.rebnconv2d")])) > 0.9


def test_equal_kernels_that_the_exporter_shares_are_quantised_one_by_one(nano, tmp_path):
    """Two units of one kernel and one bias; as many bytes of int8 weights as without sharing."""
    import onnx
    import onnxruntime

    folded = nano.fold()
    twin, other = "stage5.rebnconv2.conv_s1", "stage5.rebnconv3.conv_s1"
    state = {**folded.state, **{f"{twin}.{k}": folded.state[f"{other}.{k}"] for k in ("weight", "bias")}}
    options = FORMATS["onnx"].settle(Options(size=(64, 64)))
    model = _exported(replace(folded, state=state), options, tmp_path / "shared.onnx")
    assert any(node.op_type == "Identity" for node in model.graph.node)
    eight = quantised(model, [node.name for node in model.graph.node if node.op_type == "Conv"][1:])
    onnx.checker.check_model(eight)
    assert not any(node.op_type == "Identity" for node in eight.graph.node)
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


@pytest.mark.parametrize("key", WRITTEN)
def test_the_file_is_small_and_says_what_every_layer_costs(written, key, nano, tmp_path_factory):
    artifact = written[key]
    assert artifact.report.ok
    found = artifact.report.masks or artifact.report.pixels  # of pictures in and out the pixels are compared
    assert found.worst <= found.iou
    document = json.loads(json.dumps(artifact.to_json()))["quantised"]
    assert len(document["kept"]) < len(document["layers"])
    if (
        key[0] != "onnx"
    ):  # its scales and QDQ nodes outweigh what so small a network saves; u2netp's file is 0.37 of fp32's
        assert artifact.bytes < 0.75 * 4 * nano.arch.parameters()  # of the weights alone in float32
    assert set(document["kept"]) == {layer["path"] for layer in document["layers"] if layer["kept"]}
    assert len(document["layers"]) > 80
    assert artifact.plan.summary().startswith(f"{len(document['kept'])} of {len(document['layers'])} layers stay")


@pytest.mark.parametrize("key", [("coreml", "int8"), ("tflite", "int8"), ("onnx", "int8")])
def test_verify_holds_a_file_to_the_precision_that_it_names(written, key, nano, monkeypatch):
    """`verify` runs tensors as pictures; what was proved is not called wrong."""
    monkeypatch.setattr(type(FORMATS[key[0]]), "bounds", {"int8": MaskBound(0.9, 0.05, 0.8)})
    verdict = Verifier(nano, PROFILES["paper"], {}).verify(written[key].path)
    assert (verdict.ok, verdict.precision, verdict.diagnosis) == (True, "int8", None)
    monkeypatch.setattr(type(FORMATS[key[0]]), "bounds", {"int8": MaskBound(0.99999, 1e-7, 0.99999)})
    assert not Verifier(nano, PROFILES["paper"], {}).verify(written[key].path).ok


def test_layers_that_16_values_ruin_get_256(nano, monkeypatch):
    """Each kernel has the number of values that the plan says, and fewer layers in more bits would break the bound."""
    monkeypatch.setattr(photographs, "BUNDLED", photographs.BUNDLED[:2])
    monkeypatch.setattr(plan, "RANKED_ON", 1)
    bound = MaskBound(0.93, 0.05, 0.85)
    found = plan.plan_weights(nano, Options(SIZE, precision="palette4"), bound, half=True)
    assert found.errors.within(stricter(bound))
    assert found.finer
    assert not set(found.finer) & set(found.kept)
    assert f"{len(found.finer)} are palette8" in found.summary()
    assert found.to_json()["finer"] == dict.fromkeys(found.finer, "palette8")
    for unit in found.checkpoint.arch.units():
        values = len(np.unique(found.checkpoint.state[f"{unit.conv_path}.weight"]))
        if unit.path in found.rounded:
            assert values <= (256 if unit.path in found.finer else 16)
    bench = Bench(nano, photographs.tensors(SIZE), half=True)
    coarser = {path: rounded(bench.kernels[path], "palette4") for path in found.rounded}
    assert not bench.errors(coarser).within(stricter(bound))


@pytest.mark.parametrize("key", WRITTEN)
def test_fewer_bits_are_read_back(written, key):
    """What a reader finds is what the plan rounded; ONNX holds the equalised network, which computes the same."""
    checkpoint, found = written[key].plan.checkpoint, read_source(written[key].path).fold()
    for unit in checkpoint.arch.units():
        name = f"{unit.conv_path}.weight"
        step = np.abs(checkpoint.state[name]).max() / 127
        allowed = 0.51 * step if key[0] == "onnx" else step * 127 / 1024  # a unit of float16 in the last place
        assert np.abs(found.state[name] - checkpoint.state[name]).max() <= allowed, unit.path


def test_info_reads_and_runs_what_was_written(written):
    for artifact in written.values():
        checkpoint, agreement = inspect(artifact.path)
        assert checkpoint.arch.name == "u2net_nano"
        assert agreement.skipped is None
        assert agreement.mean_abs < 0.05


def test_a_bound_that_cannot_be_met_fails_and_says_how_close_it_came(nano, tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "BUNDLED", photographs.BUNDLED[:1])
    monkeypatch.setattr(type(FORMATS["coreml"]), "bounds", {"palette4": MaskBound(1.0, 0.0, 1.0)})
    with pytest.raises(
        ParityError, match=r"palette4: not kept: .* IoU [01]\.\d+ \(worst [01]\.\d+\) MAE 0\.\d+; needed: IoU 1\.0"
    ):
        convert(nano, "coreml", tmp_path, options=Options((32, 32), precision="palette4"))
    assert list(tmp_path.iterdir()) == []


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
        convert(WEIGHTS, "onnx", out, options=options)
    assert "\n" not in str(raised.value)
    assert not out.exists() or not list(out.iterdir())


def test_the_command_takes_a_folder_and_refuses_an_empty_one(tmp_path):
    done = u2zoo("convert", WEIGHTS, "--to", "onnx", "--precision", "int8", "--calibration", tmp_path, "-o", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}: holds no photographs to calibrate on\n"
    assert list(tmp_path.iterdir()) == []


def test_photographs_of_a_folder_are_spread_over_it(tmp_path):
    for n in range(60):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / f"{n:02}.png")
    names = [file.stem for file in photographs.listed(tmp_path)]
    assert len(names) == photographs.LIMIT
    assert (names[0], int(names[-1]) > 55) == ("00", True)
    assert photographs.tensors((8, 8), tmp_path)[0].shape == (1, 3, 8, 8)


def test_options_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(OptionError, match="--calibration goes with a precision that is measured: int8"):
        FORMATS["onnx"].settle(Options(precision="fp16", calibration=tmp_path))
    with pytest.raises(OptionError, match="--precision int8 needs --opset 13 or later"):
        FORMATS["onnx"].settle(Options(precision="int8", opset=12))
    with pytest.raises(OptionError, match="--precision int8 goes with --via native"):
        FORMATS["tflite"].settle(Options(precision="int8", via="onnx2tf"))
    with pytest.raises(InputError, match="holds no photographs to calibrate on"):
        FORMATS["coreml"].settle(Options(precision="palette6", calibration=tmp_path))
