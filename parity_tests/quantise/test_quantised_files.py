"""The bundled network in fewer bits, each file proved against the bound of its format and precision."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from support.artifacts import nano
from support.lasting import full_for
from support.mil_models import convolutions
from support.opening import Here
from support.quantising import few_layers, few_photographs

from converters import FORMATS, Artifact, Options, convert, sample_images
from converters.formats.coreml_format import converted
from converters.loading import read_source
from converters.mask_errors import MaskBound, MaskErrors
from converters.mil import Package
from converters.quantise import integer_layers as integer_plan
from converters.quantise.coreml_weights import compressed
from converters.quantise.integer_layers import SMALL
from converters.quantise.mixed_precision import Plan, plan_weights, replaced, stricter
from converters.quantise.rounding import BITS, rounded
from converters.quantise.sensitivity import LayerCost, SensitivityAnalysis
from converters.verify import verifier as verify
from converters.verify.self_check import inspect
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ParityError
from u2net_zoo.preprocessing import PROFILES

SIZE = (128, 128)  # from here on the bundled network keeps the bounds: at 64x64 a pixel is too much of a mask
WRITTEN = [("coreml", "palette6"), ("tflite", "int8"), ("onnx", "int8")]
# Each of Core ML's takes coremltools 12 s; quick: the plan, and how a kernel is stored.
LASTING = [("coreml", scheme) for scheme in ("int8", "palette8", "palette4")] + [("executorch", "int8")]
LASTING += [("coreai", scheme) for scheme in ("int8", "palette8", "palette6")]
SLOW = [pytest.param(key, marks=pytest.mark.full) for key in LASTING]
HALF = (("coreml", "palette4"), ("tflite", "int8"), ("onnx", "int8"), ("executorch", "int8"))  # of float32's size
WEIGHTS_ONLY = ("coreml", "coreai", "tflite")
INTEGERS = ("onnx", "executorch")


def bound(key: tuple[str, str]) -> MaskBound:
    return FORMATS[key[0]].bounds[key[1]]


@pytest.fixture(scope="module")
def network() -> Checkpoint:
    return nano()


@pytest.fixture(scope="module")
def written(store, network) -> Callable[[tuple[str, str]], Artifact]:
    """`written((format, precision))`: the bundled network, within its format's own bound."""

    def made(key: tuple[str, str]) -> Artifact:
        name, precision = key
        options = Options(SIZE, io="image" if name == "onnx" else "tensor", precision=precision)

        def make(folder):
            with few_photographs():
                return convert(network, name, folder, options=options)[0]

        return store.once(f"quantised {name} {precision}", make)

    return made


@pytest.fixture(scope="module")
def planned(store, network, written) -> Callable[[str], Plan]:
    """`planned(scheme)`: what Core ML's writer decides on."""

    def made(scheme: str) -> Plan:
        if ("coreml", scheme) in WRITTEN:
            return written(("coreml", scheme)).plan

        def make(folder):
            with few_photographs():
                return plan_weights(network, Options(SIZE, precision=scheme), bound(("coreml", scheme)), half=True)

        return store.once(f"plan {scheme}", make)

    return made


@pytest.fixture(scope="module")
def bench(network) -> SensitivityAnalysis:
    """What the search measures with: the arithmetic is float16."""
    return SensitivityAnalysis(network, sample_images.tensors(SIZE)[:2], half=True)


@pytest.mark.parametrize("scheme", full_for(BITS, "palette4"))
def test_the_bundled_network_stays_within_the_bound_in_fewer_bits(planned, bench, scheme):
    """Most layers are rounded; what the plan says was measured; one layer less in more bits misses the aim."""
    plan, aim = planned(scheme), stricter(bound(("coreml", scheme)))
    assert plan.errors.within(aim)
    assert len(plan.kept) <= 0.2 * len(plan.costs)  # measured 2026-11-26: 19, 5, 11 and 1 of 111
    finer = dict.fromkeys(plan.finer, "palette8")
    kernels = {path: rounded(bench.kernels[path], finer.get(path, scheme)) for path in plan.rounded}
    assert bench.errors(kernels) == plan.errors
    for last in (plan.finer or plan.kept)[-1:]:  # where any needs more bits at all
        assert not bench.errors(kernels | {last: rounded(bench.kernels[last], scheme)}).within(aim)


@pytest.mark.parametrize("scheme", BITS)
def test_layers_stay_in_the_order_of_what_they_cost(planned, bench, scheme):
    """Heads and small kernels are not among them: nothing behind a head mends what it loses."""
    plan = planned(scheme)
    order = [cost.path for cost in sorted(plan.costs, key=lambda cost: -(cost.mae**2) / cost.size)]
    assert [cost.path for cost in plan.costs] == order
    assert list(plan.kept) == order[: len(plan.kept)]
    assert list(plan.finer) == [path for path in order if path not in plan.kept][: len(plan.finer)]
    inner = [unit.path for unit in bench.arch.units() if unit.relu]
    assert set(order) == {path for path in inner if bench.kernels[path].size >= 512}


def test_onnx_keeps_first_what_costs_most_for_the_work_it_saves(written, network):
    plan = written(("onnx", "int8")).plan
    least = SMALL * sum(cost.work for cost in plan.costs)
    gains = [cost.mae / max(cost.work, least) for cost in plan.costs]
    assert gains == sorted(gains, reverse=True)
    assert list(plan.kept) == [cost.path for cost in plan.costs[: len(plan.kept)]]
    inner = [unit.path for unit in network.arch.units() if unit.relu]
    assert {cost.path for cost in plan.costs} == set(inner[1:])  # the first takes the image as it is


@pytest.mark.full
def test_layers_that_16_values_ruin_get_256(planned, bench):
    """Each kernel has the number of values that the plan says, and fewer layers in more bits would break the bound."""
    plan = planned("palette4")
    assert plan.finer
    assert not set(plan.finer) & set(plan.kept)
    assert f"{len(plan.finer)} are palette8" in plan.summary()
    assert plan.to_json()["finer"] == dict.fromkeys(plan.finer, "palette8")
    for unit in plan.checkpoint.arch.units():
        values = len(np.unique(plan.checkpoint.state[f"{unit.conv_path}.weight"]))
        if unit.path in plan.rounded:
            assert values <= (256 if unit.path in plan.finer else 16)
    coarser = {path: rounded(bench.kernels[path], "palette4") for path in plan.rounded}
    assert not bench.errors(coarser).within(stricter(bound(("coreml", "palette4"))))


@pytest.mark.parametrize("key", [*WRITTEN, *SLOW])
def test_the_file_is_small_and_says_what_every_layer_costs(written, key, network):
    artifact = written(key)
    assert artifact.report.ok
    found = (
        artifact.report.masks if artifact.report.kind == "mask" else artifact.report.pixels
    )  # of pictures in and out the pixels are compared
    assert found.bound == bound(key)
    assert found.within(bound(key))
    assert found.worst <= found.iou
    document = json.loads(json.dumps(artifact.to_json()))["quantised"]
    assert len(document["kept"]) < len(document["layers"])
    # ONNX's scales and QDQ nodes outweigh what so small a network saves; u2netp's file is 0.37 of fp32's.
    if key[0] in WEIGHTS_ONLY:  # measured 2026-11-26: palette4 0.48, tflite 0.42 of the weights alone in float32
        assert artifact.bytes < (0.5 if key in HALF else 0.6) * 4 * network.arch.parameters()
    assert set(document["kept"]) == {layer["path"] for layer in document["layers"] if layer["kept"]}
    assert len(document["layers"]) > 80
    costs = f" ({document['kept'][0]} costs IoU " if document["kept"] else ""
    assert artifact.plan.summary().startswith(
        f"{len(document['kept'])} of {len(document['layers'])} layers stay{costs}"
    )


@pytest.mark.parametrize(
    "key", [WRITTEN[0], *(pytest.param(key, marks=pytest.mark.full) for key in WRITTEN[1:]), *SLOW]
)
def test_verify_holds_a_file_to_the_precision_that_it_names(written, key, network, monkeypatch):
    """`verify` runs tensors as pictures; what was proved is not called wrong."""
    path = written(key).path
    with few_photographs():
        verifier = verify.Verifier(network, PROFILES["paper"], {}, opened=Here)
        verdict = verifier.verify(path)
        assert (verdict.ok, verdict.precision, verdict.diagnosis) == (True, key[1], None)
        monkeypatch.setattr(type(FORMATS[key[0]]), "bounds", {key[1]: MaskBound(0.99999, 1e-7, 0.99999)})
        assert not verifier.verify(path).ok


@pytest.mark.parametrize("key", [*WRITTEN, *SLOW])
def test_fewer_bits_are_read_back(written, key):
    """What a reader finds is what the plan rounded; those of integers hold the equalised network."""
    artifact = written(key)
    checkpoint, found = artifact.plan.checkpoint, read_source(artifact.path).fold()
    for unit in checkpoint.arch.units():
        name = f"{unit.conv_path}.weight"
        step = np.abs(checkpoint.state[name]).max() / 127
        allowed = 0.51 * step if key[0] in INTEGERS else step * 127 / 1024  # a unit of float16 in the last place
        assert np.abs(found.state[name] - checkpoint.state[name]).max() <= allowed, unit.path


@pytest.mark.parametrize("key", [*WRITTEN, *SLOW])
def test_info_reads_and_runs_what_was_written(written, key):
    checkpoint, agreement = inspect(written(key).path)
    assert checkpoint.arch.name == "u2net_nano"
    assert agreement.skipped is None
    assert agreement.mean_abs < 0.05


STORED = {"int8": "constexpr_affine_dequantize", **dict.fromkeys(set(BITS) - {"int8"}, "constexpr_lut_to_dense")}


@pytest.mark.parametrize("scheme", BITS)
def test_core_ml_stores_the_very_numbers_that_a_kernel_was_rounded_to(scheme, tmp_path):
    """All but one layer of a small network, without a search; the program computes in float16."""
    import coremltools as ct

    network = few_layers().fold()
    kernels = {unit.path: network.state[f"{unit.conv_path}.weight"] for unit in network.arch.units() if unit.relu}
    kept = next(iter(kernels))
    costs = tuple(LayerCost(path, kernel.size, 1, 0.0, 1.0) for path, kernel in kernels.items())
    coarse = {path: rounded(kernel, scheme) for path, kernel in kernels.items() if path != kept}
    plan = Plan(scheme, (kept,), costs, MaskErrors(1, 1, 0), 0, replaced(network, coarse))
    options = FORMATS["coreml"].settle(Options((32, 32), precision=scheme, outputs="mask"))
    half = {"compute_precision": ct.precision.FLOAT16, "minimum_deployment_target": ct.target.iOS16}
    model = converted(plan.checkpoint, options, convert_to="mlprogram", **half)
    compressed(model, plan).save(str(tmp_path / "stored.mlpackage"))
    package = Package.open(tmp_path / "stored.mlpackage")
    kinds = [op.kind for op in package.function.operations if op.kind.startswith("constexpr_")]
    assert kinds == [STORED[scheme]] * len(coarse)
    for unit, found in zip(network.arch.units(), convolutions(package), strict=True):
        if unit.path in coarse:
            # coremltools takes int8's scale from weights that float16 has rounded: a unit in the last place, twice
            allowed = 1.5 * 2**-10 if scheme == "int8" else 0
            np.testing.assert_allclose(found.kernel, coarse[unit.path], rtol=allowed)


def test_a_bound_that_cannot_be_met_fails_and_says_how_close_it_came(network, tmp_path, monkeypatch):
    monkeypatch.setattr(type(FORMATS["coreml"]), "bounds", {"palette4": MaskBound(1.0, 0.0, 1.0)})
    with (
        few_photographs(1),
        pytest.raises(
            ParityError, match=r"palette4: not kept: .* IoU [01]\.\d+ \(worst [01]\.\d+\) MAE 0\.\d+; needed: IoU 1\.0"
        ),
    ):
        convert(network, "coreml", tmp_path, options=Options((32, 32), precision="palette4"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_beyond_its_bound_is_refused_whatever_its_plan_says(tmp_path, monkeypatch):
    """The search is told that every layer may be rounded; the file's own runtime shows otherwise."""
    monkeypatch.setattr(integer_plan, "fewest", lambda *_: ((), MaskErrors(1.0, 1.0, 0.0)))
    with few_photographs(), pytest.raises(ParityError, match=r"IoU 0\.\d+ .*needed: IoU 0\.985"):
        convert(few_layers(), "onnx", tmp_path, options=Options((64, 64), precision="int8"))
    assert list(tmp_path.iterdir()) == []
