"""ONNX graphs are written from the walk: valid, as near as Torch, named after the units, the same on every machine."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lasting import full_for
from support.networks import SMALL, TINY, hard_checkpoint

from converters import FORMATS, Options
from converters.formats.onnx_format import OPSETS
from converters.formats.onnx_graph import _scales, onnx_bytes
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from u2net_zoo.arch import two_level
from u2net_zoo.catalog import bundled
from u2net_zoo.preprocessing import PROFILES

STAGES = [("5", 4, 8), ("4", 4, 8), ("4F", 4, 8)], [("4", 4, 8), ("5", 4, 8)]
NETWORKS = {
    "small": SMALL,
    "stem": two_level("stem", *STAGES, stem_ch=6, fused=False),
    "classes": two_level("classes", *STAGES, out_ch=4, final="none"),
}
ONNX = FORMATS["onnx"]


def written(checkpoint, **options) -> bytes:
    return onnx_bytes(checkpoint, ONNX.settle(Options(**options)))


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", full_for(NETWORKS, "classes"))
def test_every_opset_is_valid_and_computes_the_network(kind, opset):
    checkpoint = hard_checkpoint(NETWORKS[kind])
    x = np.random.default_rng(opset).standard_normal((2, 3, 65, 47)).astype(np.float32)
    model = written(checkpoint, size=(65, 47), opset=opset, outputs="all")
    onnx.checker.check_model(model, full_check=True)
    reference = TorchPredictor(checkpoint, "float64")(x)
    noise = max(abs(TorchPredictor(checkpoint)(x)[name] - y).max() for name, y in reference.items())
    names = list(checkpoint.arch.outputs)
    for name, found in zip(names, session(model).run(names, {"image": x}), strict=True):
        assert abs(found - reference[name]).max() <= 3 * noise + 1e-6


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("opset", [11, 17, 20])
def test_every_profile_is_in_the_graph(profile, opset):
    chosen = PROFILES[profile]
    classes = len(chosen.palette)
    arch = two_level("net", *STAGES, out_ch=classes or 1, final="none" if classes else "sigmoid")
    checkpoint = hard_checkpoint(arch)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3), np.uint8)
    model = written(checkpoint, size=(64, 48), opset=opset, io="image", profile=profile)
    onnx.checker.check_model(model, full_check=True)
    found = session(model).run(["mask"], {"image": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})[0]
    assert found.dtype == np.uint8
    for picture, levels in zip(pixels, found, strict=True):
        d0 = TorchPredictor(checkpoint)(chosen.normalised(picture))["mask"][0]
        if classes:
            assert (d0.argmax(axis=0) == levels[0]).mean() > 0.999
        else:
            right = (chosen.answer(chosen.activation(d0[0])) * np.float32(255)).astype(np.uint8)
            assert abs(right.astype(int) - levels[0]).max() <= 1


def test_names_are_the_networks():
    checkpoint = hard_checkpoint(TINY)
    graph = onnx.load_model_from_string(written(checkpoint)).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert [node.name for node in convolutions] == [unit.path for unit in checkpoint.arch.units()]
    assert convolutions[0].input[1:] == ["stage1.rebnconvin.conv_s1.weight", "stage1.rebnconvin.conv_s1.bias"]
    assert len({node.name for node in graph.node}) == len(graph.node)


def test_what_the_mask_does_not_need_is_left_out():
    """IS-Net's other sides."""
    checkpoint = hard_checkpoint(NETWORKS["stem"])
    graph = onnx.load_model_from_string(written(checkpoint)).graph
    names = {node.name for node in graph.node} | {tensor.name for tensor in graph.initializer}
    assert "side1" in names
    assert not any(name.startswith("side2") for name in names)


def test_the_bytes_are_the_same_on_every_machine(tmp_path):
    nano = read_source(bundled("u2net_nano.safetensors"))
    ONNX.write(nano, tmp_path / "nano.onnx", ONNX.settle(Options(size=(320, 320), opset=17)))
    digest = hashlib.sha256((tmp_path / "nano.onnx").read_bytes()).hexdigest()
    assert digest == "61aec9ee0dec63ba033d81b1ff5b817dfbcd6ebac0a37ff6db4c3ac25fb967b4"


@given(st.integers(1, 2048), st.floats(1, 2))
def test_runtimes_that_round_down_reach_the_size(given_side, ratio):
    wanted = max(given_side, int(given_side * ratio))
    factor = _scales([(given_side, wanted)])[2]
    assert int(factor * np.float32(given_side)) == wanted == int(float(factor) * given_side)
    assert abs(float(factor) * given_side - wanted) < 1e-3
