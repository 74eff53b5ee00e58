"""Every usual suspect is planted in a real file and named; clean files are accused of nothing."""

import warnings

import onnx
import plants
import pytest
import torch
from conftest import DATA, hard_checkpoint, needs

from converters import Options, convert
from converters.suspects import SUSPECTS
from converters.verify import Verifier
from u2net_zoo import torch_model
from u2net_zoo.arch import U2NETP
from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES

SIZE = (40, 56)  # no multiple of 32, so rounding down in a pooling shows

EDITS = {
    "align_corners=True": plants.attributes("Resize", coordinate_transformation_mode="align_corners"),
    "nearest neighbour instead of bilinear": plants.attributes(
        "Resize", mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"
    ),
    "bilinear without half-pixel centres (TensorFlow 1)": plants.attributes(
        "Resize", coordinate_transformation_mode="asymmetric"
    ),
    "average instead of maximum": plants.average_pools,
    "missing dilation": plants.no_dilation,
    "logits instead of a sigmoid": plants.without_sigmoids,
    "the sigmoid twice": plants.behind("Sigmoid"),
    "inverted (1 - mask)": plants.behind("Sub", constant=1),
    "0..255 instead of 0..1": plants.behind("Mul", constant=255),
    "channels of the first kernel reversed (BGR)": plants.kernels(lambda k: k[:, ::-1], first_only=True),
    "rounded to fp16": plants.kernels(lambda k: k.astype("float16")),
    "rounded to bf16": plants.kernels(plants.bfloat16),
    "rounded to int8 per channel": plants.kernels(plants.int8),
    # These take pixels and normalise them themselves.
    "red and blue swapped (BGR)": plants.takes_pixels(bgr=True),
    "divided by 255 instead of by the maximum": plants.takes_pixels(by_maximum=False),
    "one standard deviation for all channels (0.2260)": plants.takes_pixels(std=0.226),
    "divided by 255, one standard deviation (0.2260), as Core ML's scale": plants.takes_pixels(False, std=0.226),
    "mean and standard deviation 0.5": plants.takes_pixels(mean=0.5, std=0.5),
    "mean and standard deviation left out": plants.takes_pixels(mean=0, std=1),
}


@pytest.fixture(scope="module")
def clean(small, tmp_path_factory):
    """The small network as ONNX, all outputs."""
    options = Options(size=SIZE, outputs="all")
    return convert(small, "onnx", tmp_path_factory.mktemp("clean"), options=options)[0].path


@pytest.fixture(scope="module")
def verifier(small) -> Verifier:
    return Verifier(small, PROFILES["paper"], {}, SIZE)


@pytest.mark.parametrize("name", EDITS)
def test_a_planted_fault_is_named(name, clean, verifier, tmp_path):
    verdict = verifier.verify(plants.planted(clean, tmp_path / "wrong.onnx", EDITS[name]))
    if name == "rounded to fp16":  # no fault where the format has a bound for it
        assert (verdict.ok, verdict.precision) == (True, "fp16")
        return
    assert not verdict.ok
    assert verdict.diagnosis.explanation.name == name
    assert verdict.diagnosis.explanation.exact


BENT = {
    "sizes rounded down (ceil_mode=False)": ("pool", "stage1.rebnconv5"),
    "batch norm's epsilon 1e-3 instead of 1e-5 (Keras' default)": ("eps", "stage1.rebnconvin"),
}


@pytest.mark.parametrize("name", BENT)
def test_an_exporter_that_bends_a_rule_is_found_out(name, small, verifier, tmp_path, monkeypatch):
    rule, unit = BENT[name]

    def pool(ops, x):
        return torch.nn.functional.max_pool2d(x, 2, 2, ceil_mode=False)

    model = torch_model.build(small)
    for module in model.modules():
        if rule == "eps" and isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
    path = tmp_path / "bent.onnx"
    with monkeypatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if rule == "pool":
            patched.setattr(torch_model._TorchOps, "pool", pool)
        torch.onnx.export(model, (torch.zeros(1, 3, *SIZE),), str(path), opset_version=17, dynamo=False)
    diagnosis = verifier.verify(path).diagnosis
    assert diagnosis.explanation.name == name
    assert diagnosis.first.path == unit
    assert (diagnosis.first.error is None) == (rule == "pool")  # the shapes differ, and both are told
    if rule == "pool":
        assert diagnosis.first.shape[1:] != diagnosis.first.expected[1:]


class InBrainFloats(torch.nn.Module):
    """The folded network in bf16, float32 going in and coming out."""

    def __init__(self, checkpoint):
        super().__init__()
        self.network = torch_model.build(checkpoint.fold(), dtype=torch.bfloat16)

    def forward(self, x):
        return tuple(m.float() for m in self.network(x.to(torch.bfloat16)))


def test_arithmetic_in_bf16_is_recognised_by_the_differences_that_it_makes(small, verifier, tmp_path):
    path = tmp_path / "bf16.torchscript"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(InBrainFloats(small), torch.zeros(1, 3, *SIZE), check_trace=False).save(str(path))
    verdict = verifier.verify(path)
    assert not verdict.ok  # TorchScript has no bound for bf16
    assert verdict.diagnosis.explanation.name == "computed in bf16"
    assert not verdict.diagnosis.explanation.exact


def test_an_fp16_file_agrees_as_fp16(small, verifier, tmp_path):
    path = convert(small, "onnx", tmp_path, options=Options(size=SIZE, precision="fp16"))[0].path
    verdict = verifier.verify(path)
    assert (verdict.ok, verdict.precision, verdict.diagnosis) == (True, "fp16", None)


def test_two_faults_at_once_are_both_named(clean, verifier, tmp_path):
    first = plants.planted(clean, tmp_path / "first.onnx", EDITS["align_corners=True"])
    path = plants.planted(first, tmp_path / "both.onnx", EDITS["inverted (1 - mask)"])
    name = verifier.verify(path).diagnosis.explanation.name
    assert {"align_corners=True", "inverted (1 - mask)"} == set(name.split(" and "))


def test_the_first_unit_behind_the_fault_is_named_with_both_shapes(clean, verifier, tmp_path):
    path = plants.planted(clean, tmp_path / "wrong.onnx", EDITS["align_corners=True"])
    first = verifier.verify(path).diagnosis.first
    assert first.path == "stage1.rebnconv5d"
    assert first.shape == first.expected == (4, 3, 4)
    assert first.text().startswith("stage1.rebnconv5d: (4, 3, 4), in Torch (4, 3, 4); relative error ")


def test_clean_files_are_accused_of_nothing(clean, small, verifier, tmp_path):
    artifacts = convert(small, "tflite,coreml", tmp_path, options=Options(size=SIZE))
    for path in (clean, *(artifact.path for artifact in artifacts)):
        verdict = verifier.verify(path)
        assert verdict.ok, path
        assert verdict.diagnosis is None


def test_a_clean_file_that_takes_pixels_is_worked_out(clean, verifier, tmp_path):
    verdict = verifier.verify(plants.planted(clean, tmp_path / "pixels.onnx", plants.takes_pixels()))
    assert verdict.ok
    assert verdict.takes == "pixels 0..255"


def test_a_clean_file_that_divides_by_255_as_its_profile_does_is_accused_of_nothing(clean, small, tmp_path):
    plant = plants.takes_pixels(by_maximum=False, mean=0.5, std=1)
    path = plants.planted(clean, tmp_path / "pixels.onnx", plant)
    verdict = Verifier(small, PROFILES["isnet"], {}, SIZE, known=True).verify(path)
    assert verdict.ok
    assert verdict.takes == "pixels 0..255"


def test_other_weights_are_called_other_weights(clean, verifier, tmp_path):
    def louder(kernel):
        return kernel * 1.02

    path = plants.planted(clean, tmp_path / "other.onnx", plants.kernels(louder, first_only=True))
    diagnosis = verifier.verify(path).diagnosis
    assert diagnosis.explanation is None
    assert diagnosis.first.path == "stage1.rebnconvin"
    assert diagnosis.weights.startswith("not the checkpoint's: stage1.rebnconvin.conv_s1.weight is off by 2 %")


def test_another_network_is_called_another_network(clean):
    wrong = Verifier(hard_checkpoint(U2NETP), PROFILES["paper"], {}, SIZE)
    (line,) = wrong.verify(clean).diagnosis.lines()
    assert line.startswith("weights: another network: u2net-custom with ")


def test_the_file_from_the_wild_uses_align_corners(real_weights):
    from converters.sources import read_source

    verifier = Verifier(read_source(real_weights), PROFILES["paper"], {})
    diagnosis = verifier.verify(needs(DATA / "weights" / "u2netp_fp16_third_party.tflite")).diagnosis
    assert diagnosis.explanation.name == "align_corners=True"
    assert diagnosis.first.path == "stage1.rebnconv5d"
    assert diagnosis.weights == "the checkpoint's, to within float32's rounding"


def test_what_is_no_u2net_is_refused(clean, verifier, tmp_path):
    def first_convolution_only(model):
        kept = [node for node in model.graph.node if node.op_type == "Conv"][:1]
        del model.graph.node[:], model.graph.output[1:]
        model.graph.node.extend(kept)
        name = model.graph.node[0].output[0] = model.graph.output[0].name
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        del model.graph.value_info[:]

    path = plants.planted(clean, tmp_path / "other.onnx", first_convolution_only)
    with pytest.raises(ArtifactError, match=r"output 'mask' has the shape .*; the network has 7 of shape"):
        verifier.verify(path)


def test_every_kind_of_suspect_is_planted():
    """But those that vary another one, and arithmetic at low precision, which has tests of its own."""
    alike = (
        "one standard deviation",
        "divided by 255, one",
        "computed in",
        "rounded to int8",
        "a sigmoid instead",
        "min-max",
    )
    missing = {s.name for s in SUSPECTS if not s.name.startswith(alike)} - set(EDITS) - set(BENT)
    assert missing == set()
