"""IS-Net: the same blocks with a stem, without a fusion; in Torch, in Keras, and through the formats."""

from dataclasses import replace

import numpy as np
import pytest
from support.artifacts import ALL
from support.lasting import full_for
from support.networks import SMALL, hard_checkpoint
from support.training import SHALLOW

from converters import FORMATS, Options, convert
from converters.loading import read_source
from converters.parity import in_batches
from u2net_zoo import keras_model, torch_model
from u2net_zoo.arch import ISNET, U2NET, Architecture, two_level
from u2net_zoo.checkpoint import Checkpoint


def with_a_stem(arch: Architecture) -> Architecture:
    """IS-Net of the same blocks."""
    stages = [(f"{b.height}{'F' if b.dilated else ''}", b.mid_ch, b.out_ch) for b in arch.blocks]
    depth = len(arch.encoder)
    return two_level(f"{arch.name} isnet", stages[:depth], stages[depth:], stem_ch=5, fused=False)


NARROW, LOW = with_a_stem(SMALL), with_a_stem(SHALLOW)


@pytest.fixture(scope="module")
def isnet() -> Checkpoint:
    return hard_checkpoint(NARROW)


@pytest.fixture(scope="module")
def low() -> Checkpoint:
    """Of three stages, which Keras builds in half the time."""
    return hard_checkpoint(LOW)


def published_network(checkpoint: Checkpoint, x):
    """The published definition's forward pass, written out once more, over the blocks of the Torch model."""
    import torch
    import torch.nn.functional as F

    model = torch_model.build(checkpoint, dtype=torch.float64)
    block = {spec.path: getattr(model, spec.path) for spec in checkpoint.arch.blocks}
    pool = torch.nn.MaxPool2d(2, 2, ceil_mode=True)

    def up(a, b):
        return F.interpolate(a, size=b.shape[2:], mode="bilinear", align_corners=False)

    hx1 = block["stage1"](F.conv2d(x, model.conv_in.weight, model.conv_in.bias, stride=2, padding=1))
    hx2 = block["stage2"](pool(hx1))
    hx3 = block["stage3"](pool(hx2))
    hx4 = block["stage4"](pool(hx3))
    hx5 = block["stage5"](pool(hx4))
    hx6 = block["stage6"](pool(hx5))
    hx5d = block["stage5d"](torch.cat((up(hx6, hx5), hx5), 1))
    hx4d = block["stage4d"](torch.cat((up(hx5d, hx4), hx4), 1))
    hx3d = block["stage3d"](torch.cat((up(hx4d, hx3), hx3), 1))
    hx2d = block["stage2d"](torch.cat((up(hx3d, hx2), hx2), 1))
    hx1d = block["stage1d"](torch.cat((up(hx2d, hx1), hx1), 1))
    maps = zip((model.side1, model.side2, model.side3, model.side4, model.side5, model.side6),
               (hx1d, hx2d, hx3d, hx4d, hx5d, hx6), strict=True)  # fmt: skip
    return [torch.sigmoid(up(side(h), x)) for side, h in maps]


def test_the_network_is_the_published_one():
    assert ISNET.parameters() == 44_046_790  # u2net less outconv, more conv_in, a wider entry
    assert ISNET.parameters() == U2NET.parameters() - 7 + 64 * (3 * 9 + 1) + 61 * 64 * 9
    assert ISNET.stride == 64
    assert ISNET.outputs == ("mask", "side2", "side3", "side4", "side5", "side6")
    assert [unit.path for unit in ISNET.units()][:2] == ["conv_in", "stage1.rebnconvin"]
    assert [unit.path for unit in ISNET.units()][-1] == "side6"


@pytest.mark.parametrize("size", [(64, 64), (67, 45)])
def test_torch_computes_the_published_forward_pass(isnet, size):
    import torch

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, *size)))
    with torch.inference_mode():
        ours = torch_model.build(isnet, dtype=torch.float64)(x)
        for a, b in zip(ours, published_network(isnet, x), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (67, 45), None], ids=str)
def test_keras_agrees_with_torch(low, size):
    """Keras' own padding of a stride of two is lopsided; the stem must not have it."""
    import torch

    model = keras_model.build(low, size=size)
    x = np.random.default_rng(0).standard_normal((2, 3, *(size or (64, 96)))).astype(np.float32)
    maps = [np.asarray(m).transpose(0, 3, 1, 2) for m in model(x.transpose(0, 2, 3, 1), training=False)]
    with torch.inference_mode():
        expected = torch_model.build(low)(torch.from_numpy(x))
    for a, b in zip(maps, expected, strict=True):
        # Two float32 runs; the gate holds each to the noise floor. A lopsided stem is off by more than 1e-2.
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=5e-5)
    assert keras_model.state_of(model, LOW).arch == LOW


def test_it_is_known_by_its_keys():
    shapes = ISNET.state_shapes()
    state = {key: np.zeros(shape, np.int64 if not shape else np.float32) for key, shape in shapes.items()}
    assert Checkpoint.from_state(state).arch.name == "isnet"
    assert Checkpoint.from_state({f"module.{key}": value for key, value in state.items()}).arch == ISNET


@pytest.mark.parametrize("name", full_for(ALL, "h5", "savedmodel", "coreml"))
@pytest.mark.parametrize("arch", [LOW, pytest.param(NARROW, marks=pytest.mark.full)], ids=["low", "whole"])
def test_it_converts_like_the_rest(name, arch, tmp_path):
    checkpoint = hard_checkpoint(arch)
    artifact = convert(checkpoint, name, tmp_path, options=Options(size=(64, 64), outputs="all"))[0]
    assert artifact.report.ok
    assert {output.name for output in artifact.report.outputs} == set(arch.outputs)
    found = read_source(artifact.path)
    assert found.arch == arch
    assert all(np.array_equal(found.fold().state[key], value) for key, value in checkpoint.fold().state.items())


@pytest.mark.parametrize("others", ["ncnn", pytest.param("h5,ncnn", marks=pytest.mark.full)])
def test_a_file_that_answers_the_mask_alone_has_one_side(isnet, tmp_path, others):
    artifact = convert(isnet, "onnx", tmp_path, options=Options(size=(64, 64)))[0]
    found = read_source(artifact.path)
    assert found.arch == replace(NARROW, side_count=1)
    assert found.arch.outputs == ("mask",)
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    again = convert(found, others, tmp_path, options=Options(size=(64, 64)))
    expected = in_batches(FORMATS["onnx"].run(artifact.path), x)["mask"]
    for other in again:
        assert other.report.ok
        np.testing.assert_allclose(in_batches(FORMATS[other.format].run(other.path), x)["mask"], expected, atol=1e-5)


SLOW = [pytest.param(name, SMALL, marks=pytest.mark.full) for name in ("tflite", "coreml", "h5")]


@pytest.mark.parametrize(
    ("name", "arch"), [("onnx", SMALL), ("ncnn", SMALL), pytest.param("h5", SHALLOW, marks=pytest.mark.full), *SLOW]
)
def test_clothes_are_four_classes_of_logits(name, arch, tmp_path):
    """The published clothes model: U²-Net with four channels and no sigmoid; the class is the largest logit."""
    checkpoint = hard_checkpoint(replace(arch, out_ch=4, final="none"))
    artifact = convert(checkpoint, name, tmp_path, options=Options(size=(64, 64)))[0]
    found = read_source(artifact.path)
    assert (found.arch.out_ch, found.arch.final) == (4, "none")
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    logits = in_batches(FORMATS[name].run(artifact.path), x)["mask"]
    assert logits.shape == (1, 4, 64, 64)
    assert logits.min() < 0 or logits.max() > 1
    assert set(np.unique(logits.argmax(axis=1))) <= {0, 1, 2, 3}
