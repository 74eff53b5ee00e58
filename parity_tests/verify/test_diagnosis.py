"""Every usual suspect is planted in a real file and named."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from support import faults
from support.lasting import full_for
from support.networks import hard_checkpoint
from support.opening import Here

from converters import FORMATS, Options
from converters.parity.reference import Reference
from converters.verify import Verifier
from converters.verify.faulty_network import Sample
from converters.verify.input_conventions import runs
from converters.verify.known_faults import KNOWN_FAULTS
from converters.verify.search import Search
from converters.verify.self_check import inspect
from converters.verify.suspects import Suspects
from u2net_zoo import torch_model
from u2net_zoo.arch import U2NETP
from u2net_zoo.errors import ArtifactError
from u2net_zoo.flops import flops
from u2net_zoo.preprocessing import PROFILES

SIZE = (40, 56)  # no multiple of 32, so rounding down in a pooling shows


@pytest.fixture(scope="module")
def clean(made) -> Path:
    """The small network as ONNX, all outputs."""
    return made.one("onnx", Options(size=SIZE, outputs="all")).path


@pytest.fixture(scope="module")
def verifier(small) -> Verifier:
    return Verifier(small, PROFILES["paper"], {}, SIZE, opened=Here)


def exported(model: torch.nn.Module, path: Path) -> Path:
    """A Torch model as ONNX or TorchScript, by the frameworks' own exporters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".onnx":
            torch.onnx.export(model, (torch.zeros(1, 3, *SIZE),), str(path), opset_version=17, dynamo=False)
        else:
            torch.jit.trace(model, torch.zeros(1, 3, *SIZE), check_trace=False).save(str(path))
    return path


@pytest.mark.parametrize("name", [*faults.EDITS, *faults.PIXELS])
def test_a_planted_fault_is_named(name, clean, verifier, tmp_path):
    edit = (faults.EDITS | faults.PIXELS)[name]
    verdict = verifier.verify(faults.planted(clean, tmp_path / "wrong.onnx", edit))
    assert not verdict.ok
    assert verdict.diagnosis.explanation.name == name
    assert verdict.diagnosis.explanation.exact
    assert verdict.precision == "fp32"
    assert (verdict.takes == "pixels 0..255") == (name in faults.PIXELS)


LOGITS = "a sigmoid instead of logits"


def test_a_sigmoid_where_logits_are_right_is_named(clean, small, tmp_path):
    verifier = Verifier(small.with_final("none"), PROFILES["paper"], {}, SIZE, opened=Here)
    assert verifier.verify(faults.planted(clean, tmp_path / "logits.onnx", faults.without_sigmoids)).ok
    verdict = verifier.verify(clean)
    assert not verdict.ok
    assert verdict.diagnosis.explanation.name == LOGITS
    assert verdict.diagnosis.explanation.exact


@pytest.mark.parametrize("name", faults.ROUNDED)
def test_rounded_kernels_are_named_and_held_to_their_formats_bound(name, clean, verifier, tmp_path, monkeypatch):
    path = faults.planted(clean, tmp_path / "rounded.onnx", faults.ROUNDED[name])
    precision = name.split()[2]
    verdict = verifier.verify(path)
    assert (verdict.ok, verdict.precision) == (precision == "fp16", precision)
    if verdict.ok:  # no fault where the format has a bound for it, and the file keeps it
        assert verdict.diagnosis is None
        monkeypatch.setattr(type(FORMATS["onnx"]), "bounds", {})
        verdict = verifier.verify(path)
    assert verdict.diagnosis.explanation.name == name
    assert verdict.diagnosis.explanation.exact


FLOOR = "sizes rounded down (ceil_mode=False)"


def test_an_exporter_that_rounds_sizes_down_is_found_out(small, verifier, tmp_path, monkeypatch):
    def pool(ops, x):
        return torch.nn.functional.max_pool2d(x, 2, 2, ceil_mode=False)

    with monkeypatch.context() as patched:
        patched.setattr(torch_model._TorchOps, "pool", pool)
        path = exported(torch_model.build(small), tmp_path / "floor.onnx")
    diagnosis = verifier.verify(path).diagnosis
    assert diagnosis.explanation.name == FLOOR
    assert diagnosis.first.path == "stage1.rebnconv5"
    assert diagnosis.first.error is None  # the shapes differ, and both are told
    assert diagnosis.first.shape[1:] != diagnosis.first.expected[1:]


EPSILON = "batch norm's epsilon 1e-3 instead of 1e-5 (Keras' default)"


def test_an_exporter_that_takes_keras_epsilon_is_found_out(small, verifier, tmp_path):
    model = torch_model.build(small)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
    diagnosis = verifier.verify(exported(model, tmp_path / "epsilon.onnx")).diagnosis
    assert diagnosis.explanation.name == EPSILON
    assert diagnosis.explanation.exact
    assert diagnosis.first.path == "stage1.rebnconvin"
    assert diagnosis.first.error > diagnosis.first.allowed


class InLowPrecision(torch.nn.Module):
    """The network in another type, float32 going in and coming out."""

    def __init__(self, checkpoint, dtype):
        super().__init__()
        self.dtype = dtype
        self.network = torch_model.build(checkpoint, dtype=dtype)

    def forward(self, x):
        return tuple(m.float() for m in self.network(x.to(self.dtype)))


COMPUTED = {
    "computed in fp16": (torch.float16, True),
    "computed in fp16, batch norm not folded": (torch.float16, False),
    "computed in bf16": (torch.bfloat16, True),
    "computed in bf16, batch norm not folded": (torch.bfloat16, False),
}


@pytest.mark.parametrize("name", full_for(COMPUTED, *(each for each in COMPUTED if "not" in each)))
def test_low_arithmetic_is_recognised_by_the_differences_that_it_makes(name, small, verifier, tmp_path):
    dtype, folded = COMPUTED[name]
    model = InLowPrecision(small.fold() if folded else small, dtype)
    verdict = verifier.verify(exported(model, tmp_path / "low.torchscript"))
    assert not verdict.ok  # TorchScript has no bound for either
    assert verdict.diagnosis.explanation.name == name
    assert not verdict.diagnosis.explanation.exact
    assert f"computed in {verdict.precision}" == name.partition(",")[0]


@pytest.mark.full
def test_fp16_of_onnxruntime_is_recognised_by_its_kernels(made, verifier, monkeypatch):
    """On a CPU it computes in float32 between tensors of float16: what is left is the kernels' rounding, and a rest."""
    path = made.one("onnx", Options(size=SIZE, precision="fp16")).path
    verdict = verifier.verify(path)
    assert (verdict.ok, verdict.precision, verdict.diagnosis) == (True, "fp16", None)
    monkeypatch.setattr(type(FORMATS["onnx"]), "bounds", {})  # without its bound it would be at fault
    explanation = verifier.verify(path).diagnosis.explanation
    assert (explanation.name, explanation.exact) == ("rounded to fp16", False)


def test_every_suspect_is_planted():
    names = [suspect.name for suspect in KNOWN_FAULTS]
    planted = [*faults.EDITS, *faults.PIXELS, *faults.ROUNDED, *COMPUTED, LOGITS, FLOOR, EPSILON]
    assert sorted(names) == sorted(planted)  # each once


def test_two_faults_at_once_are_both_named(clean, verifier, tmp_path):
    first = faults.planted(clean, tmp_path / "first.onnx", faults.EDITS["align_corners=True"])
    path = faults.planted(first, tmp_path / "both.onnx", faults.EDITS["inverted (1 - mask)"])
    name = verifier.verify(path).diagnosis.explanation.name
    assert {"align_corners=True", "inverted (1 - mask)"} == set(name.split(" and "))


def test_the_first_unit_behind_the_fault_is_named_with_both_shapes(clean, verifier, tmp_path):
    path = faults.planted(clean, tmp_path / "wrong.onnx", faults.EDITS["align_corners=True"])
    first = verifier.verify(path).diagnosis.first
    assert first.path == "stage1.rebnconv5d"
    assert first.shape == first.expected == (4, 3, 4)
    assert first.text().startswith("stage1.rebnconv5d: (4, 3, 4), in Torch (4, 3, 4); relative error ")


def test_other_weights_are_called_other_weights(clean, verifier, tmp_path):
    def louder(kernel):
        return kernel * 1.02

    path = faults.planted(clean, tmp_path / "other.onnx", faults.kernels(louder, first_only=True))
    diagnosis = verifier.verify(path).diagnosis
    assert diagnosis.explanation is None
    assert diagnosis.first.path == "stage1.rebnconvin"
    assert str(diagnosis.weights).startswith("not the checkpoint's: stage1.rebnconvin.conv_s1.weight is off by 2 %")


def test_answers_that_are_no_numbers_are_a_difference_that_nothing_explains(clean, verifier, tmp_path):
    path = faults.planted(clean, tmp_path / "nan.onnx", faults.behind("Mul", constant=np.nan))
    verdict = verifier.verify(path)
    assert not verdict.ok
    assert verdict.report.outputs[0].max_abs == np.inf
    assert verdict.diagnosis.explanation is None
    assert str(verdict.diagnosis.weights) == "the checkpoint's, to within float32's rounding"
    assert verdict.histogram[-1] == sum(verdict.histogram)  # all in the last bin


def test_another_network_is_called_another_network(clean):
    wrong = Verifier(hard_checkpoint(U2NETP), PROFILES["paper"], {}, SIZE, opened=Here)
    (line,) = wrong.verify(clean).diagnosis.lines()
    assert line.startswith("weights: another network: u2net-custom with ")


def test_what_is_no_u2net_is_refused(clean, verifier, tmp_path):
    def first_convolution_only(model):
        kept = [node for node in model.graph.node if node.op_type == "Conv"][:1]
        del model.graph.node[:], model.graph.output[1:]
        model.graph.node.extend(kept)
        name = model.graph.node[0].output[0] = model.graph.output[0].name
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        del model.graph.value_info[:]

    path = faults.planted(clean, tmp_path / "other.onnx", first_convolution_only)
    with pytest.raises(ArtifactError, match=r"output 'mask' has the shape .*; the network has 7 of shape"):
        verifier.verify(path)


def sines(model) -> None:
    """Behind every map: no known fault."""
    for output in model.graph.output:
        node = next(node for node in model.graph.node if output.name in node.output)
        node.output[0] = f"{output.name}_before"
        model.graph.node.append(onnx.helper.make_node("Sin", node.output, [output.name]))


@pytest.mark.full
def test_a_search_ends_with_its_work_and_says_what_it_passed_over(clean, small, tmp_path):
    path = faults.planted(clean, tmp_path / "sines.onnx", sines)
    reference = Reference(small, SIZE, dtype="float32")
    tried = list(runs(FORMATS["onnx"].run(path), reference, PROFILES["paper"]))
    whole = Search(tried, small, work=float("inf"))
    assert (whole.found, whole.untried) == (None, 0)
    ran = whole.suspects.runs
    short = Search(tried, small, work=7.5 * flops(small.arch, SIZE))
    assert (short.found, short.suspects.runs) == (None, 8)
    assert short.untried >= ran - 8 > 20
    assert inspect(path)[1].summary().endswith("none of the known causes explains it")  # a small network has time


def test_what_is_done_to_the_maps_alone_is_no_run_of_its_own(small):
    suspects = Suspects(small, work=1)
    x = np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)
    by_name = {suspect.name: suspect for suspect in KNOWN_FAULTS}
    right = suspects.answers([by_name["0..255 instead of 0..1"]], Sample(x))
    for name in ("the sigmoid twice", "inverted (1 - mask)", "logits instead of a sigmoid"):
        found = suspects.answers([by_name[name]], Sample(x))
        expected = by_name[name].rules.run(small, Sample(x))
        assert all(np.array_equal(found[key], value) for key, value in expected.items())
        assert not np.array_equal(found["mask"], right["mask"])
    assert (suspects.runs, suspects.untried) == (1, 0)
    assert suspects.answers([by_name["align_corners=True"]], Sample(x)) is None
    assert suspects.untried == 1
