"""Files that answer more than the maps, fewer of them, or under other names: matched, and the rest named."""

from pathlib import Path

import numpy as np
import pytest
from support.networks import SMALL, hard_checkpoint
from support.opening import Here

from converters.loading import read_source
from converters.parity.outputs import difference, matched
from converters.torch_predictor import TorchPredictor
from converters.verify.self_check import inspect
from converters.verify.verifier import Verifier
from u2net_zoo import Session
from u2net_zoo.arch import Architecture, two_level
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, NotANetworkError
from u2net_zoo.folded import checkpoint_of
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.session import MaskSession

SIZE = (64, 64)
SMALL_ISNET = two_level(
    "isnet-custom",
    [("7", 4, 8), ("6", 4, 12), ("5", 4, 8), ("4", 4, 8), ("4F", 6, 8), ("4F", 4, 8)],
    [("4F", 4, 8), ("4", 4, 8), ("5", 4, 8), ("6", 4, 8), ("7", 4, 8)],
    stem_ch=8,
    fused=False,
)
NOTHING = ()


class Answers:
    """A Torch model that answers what is asked for by name: `mask`, `side1`, `logits1`, `stage1d` …"""

    def __new__(cls, checkpoint: Checkpoint, names: tuple[str, ...]):
        import torch

        from u2net_zoo import torch_model

        class Model(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = torch_model.build(checkpoint)

            def forward(self, x):
                found = {}
                for name, module in self.network.named_children():
                    module.register_forward_hook(lambda _, given, result, name=name: found.update({name: result}))
                maps = dict(zip(checkpoint.arch.outputs, self.network(x), strict=True))
                return tuple(maps[name] if name in maps else found[name.replace("logits", "side")] for name in names)

        return Model().eval()


def onnx_of(checkpoint: Checkpoint, path: Path, answers: tuple[str, ...], names: tuple[str, ...] = NOTHING) -> Path:
    import torch

    model = Answers(checkpoint, answers)
    names = names or tuple(f"output{n}" for n in range(len(answers)))
    torch.onnx.export(
        model, (torch.zeros(1, 3, *SIZE),), str(path), dynamo=False, opset_version=17,
        input_names=["input"], output_names=list(names),
    )  # fmt: skip
    return path


def torchscript_of(checkpoint: Checkpoint, path: Path, answers: tuple[str, ...]) -> Path:
    import torch

    torch.jit.trace(Answers(checkpoint, answers), torch.zeros(1, 3, *SIZE), check_trace=False).save(str(path))
    return path


def openvino_of(checkpoint: Checkpoint, path: Path, answers: tuple[str, ...]) -> Path:
    import openvino

    source = onnx_of(checkpoint, path.with_suffix(".onnx"), answers)
    openvino.save_model(openvino.convert_model(str(source)), path, compress_to_fp16=False)
    return path


WRITERS = {".onnx": onnx_of, ".xml": openvino_of, ".torchscript": torchscript_of}
CASES = [
    pytest.param(*pair, id=pair[0], marks=[pytest.mark.full] * (pair[0] == ".torchscript")) for pair in WRITERS.items()
]
FEATURES_FIRST = ("stage1d", "stage2d", "mask", "side1", "side6", "logits1")


@pytest.mark.parametrize(("suffix", "write"), CASES)
def test_features_and_logits_beside_the_maps_are_named(small, tmp_path, suffix, write, cat):
    """stage1d is as large as the maps and has eight channels; logits1 has a map's shape."""
    path = write(small, tmp_path / f"more{suffix}", FEATURES_FIRST)
    found, agreement = inspect(path)
    assert found.arch == small.arch
    assert agreement.ok, agreement.summary()
    session = Session(path)
    height, width = session.size  # 320 where the file says nothing
    shapes = [(8, height, width), (8, height // 2, width // 2), (1, height, width)]
    assert list(agreement.outputs.values()) == ["mask", "side1", "side6"]
    assert list(agreement.others.values()) == shapes
    assert f"beside the maps it answers {next(iter(agreement.others))} {shapes[0]}, " in agreement.summary()
    verdict = Verifier(small, PROFILES["paper"], {"cat": cat}, opened=Here).verify(path)
    assert verdict.ok
    assert verdict.pictures[0].off == 0
    assert [tuple(shape) for shape in verdict.to_json()["others"].values()] == shapes
    right = MaskSession(TorchPredictor(small), PROFILES["paper"], size=session.size).mask(cat)
    assert np.abs(np.asarray(session.mask(cat), int) - np.asarray(right)).max() <= 1


@pytest.fixture(scope="module")
def isnet() -> Checkpoint:
    return hard_checkpoint(SMALL_ISNET)


def test_maps_and_features_as_isnet_s_training_code_returns_them(isnet, tmp_path):
    names = (*(f"stage{n}d" for n in range(1, 6)), "stage6")
    path = onnx_of(isnet, tmp_path / "isnet.onnx", (*SMALL_ISNET.outputs, *names))
    found, agreement = inspect(path)
    assert found.arch == SMALL_ISNET
    assert agreement.ok, agreement.summary()
    assert tuple(agreement.outputs.values()) == SMALL_ISNET.outputs
    assert len(agreement.others) == 6


@pytest.mark.parametrize("sides", [1, 3])
def test_isnet_with_some_of_its_sides_is_a_network(isnet, tmp_path, sides):
    path = onnx_of(isnet, tmp_path / "some.onnx", SMALL_ISNET.outputs[:sides])
    found, agreement = inspect(path)
    assert found.arch.side_count == sides
    assert agreement.ok, agreement.summary()
    assert len(agreement.outputs) == sides


CUT = {
    ("side1",): "answers side 1 alone and lacks the fusion and 5 of 6 sides",
    ("side1", "side2"): "answers sides 1 to 2 and lacks the fusion and 4 of 6 sides",
    SMALL.outputs[1:]: "answers sides 1 to 6 and lacks the fusion",
}


@pytest.mark.parametrize(("answers", "says"), CUT.items(), ids=len)
def test_a_u2net_without_its_fusion_is_no_checkpoint_and_says_why(small, tmp_path, answers, says, cat):
    path = onnx_of(small, tmp_path / "cut.onnx", answers)
    with pytest.raises(CheckpointError, match=f"a U²-Net that {says}: it can be run and verified") as error:
        read_source(path)
    assert not isinstance(error.value, NotANetworkError)
    assert "\n" not in str(error.value)
    verdict = Verifier(small, PROFILES["paper"], {"cat": cat}, opened=Here).verify(path)
    assert verdict.ok
    assert [output.name for output in verdict.report.outputs] == list(answers)
    assert verdict.pictures[0].off == 0  # side 1 beside side 1
    assert Session(path, takes="normalised").mask(cat).size == cat.size


def kernels(arch: Architecture) -> list[np.ndarray]:
    shapes = arch.state_shapes()
    return [np.zeros(shapes[f"{unit.conv_path}.weight"], np.float32) for unit in arch.units()]


@pytest.mark.parametrize("count", [112, 113, 114, 118])
def test_as_many_convolutions_of_another_network_stay_refused(count):
    """With a kernel in the middle that fits neither family."""
    pairs = [(kernel, None) for kernel in kernels(SMALL)[:count]]
    pairs[50] = (np.zeros((5, 7, 3, 3), np.float32), None)
    with pytest.raises(CheckpointError, match=r"not a U²-Net|expected"):
        checkpoint_of(pairs)


def test_no_output_of_a_map_s_shape_is_one_reason():
    answers = {"mask": np.zeros((1, 1, *SIZE))}
    with pytest.raises(ArtifactError, match=r"'a' has the shape \(1, 8, 32, 32\); the network has 1 of shape"):
        matched({"a": np.zeros((1, 8, 32, 32))}, answers)


def test_what_is_broken_or_named_as_a_map_is_never_passed_over():
    """NaN, and a side that answers logits under its own name, are differences; logits beside the rest are not."""
    right = {name: np.full((1, 1, 4, 4), level) for name, level in (("mask", 0.2), ("side1", 0.6))}
    assert matched({"a": right["side1"], "b": right["mask"], "c": right["mask"] - 9}, right) == {
        "a": "side1",
        "b": "mask",
    }
    broken = {"a": right["mask"], "b": np.full((1, 1, 4, 4), np.nan)}
    assert difference(broken, right)[0] == {"a": "mask", "b": "side1"}
    assert difference(broken, right)[1] > 1e9
    assert difference({"mask": right["mask"], "side1": right["side1"] + 7}, right)[1] == pytest.approx(7)
