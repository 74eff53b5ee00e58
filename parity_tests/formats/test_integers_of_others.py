"""Integers that TensorFlow's converter makes of a network that nothing here has built, and MNN's of one in Torch."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint

from converters import FORMATS
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from converters.verify.self_check import inspect
from u2net_zoo.checkpoint import Checkpoint

pytestmark = pytest.mark.full  # Keras, TensorFlow's converter and a calibration: half a minute
SIZE = (64, 64)
KINDS = ("int8", "uint8", "float32")  # of what goes in and comes out; inside it is int8


@pytest.fixture(scope="module")
def paper():
    from support.paper_keras import PaperNetwork

    return PaperNetwork(size=SIZE)


@pytest.fixture(scope="module")
def network(paper) -> Checkpoint:
    return Checkpoint.from_state(paper.state)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """As preprocessing makes them, (1, 3, H, W): smooth, with a few edges."""
    rng = np.random.default_rng(3)
    coarse = [rng.uniform(-2, 2.4, (1, 3, 8, 8)).astype(np.float32) for _ in range(6)]
    return [each.repeat(8, axis=2).repeat(8, axis=3) for each in coarse]


@pytest.fixture(scope="module")
def whole(paper, pictures, tmp_path_factory) -> dict[str, Path]:
    """Kind -> a file, all of whose operations are integers."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("whole")

    def samples() -> Iterator[list[np.ndarray]]:
        yield from ([x.transpose(0, 2, 3, 1)] for x in pictures)

    spec = tf.TensorSpec((1, *SIZE, 3), tf.float32, name="picture")
    function = tf.function(paper.model, input_signature=[spec], autograph=False)
    concrete = function.get_concrete_function()
    paths = {}
    for kind in KINDS:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], function)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
        paths[kind] = folder / f"{kind}.tflite"
        paths[kind].write_bytes(converter.convert())
    return paths


def test_the_network_is_the_one_of_the_paper(paper, network, pictures):
    """Keras' answers are those of the architecture that the weights' names and shapes are known for."""
    expected = TorchPredictor(network)(pictures[0])
    found = [np.asarray(each).transpose(0, 3, 1, 2) for each in paper.model(pictures[0].transpose(0, 2, 3, 1))]
    assert len(found) == 7
    for value, right in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(value, right, rtol=0, atol=1e-5)
    assert np.ptp(found[0]) > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_and_biases_are_read_back(whole, network, kind):
    found, right = read_source(whole[kind]), network.fold().state
    assert found.fold().arch.blocks == network.fold().arch.blocks
    assert found.meta["quantised"] == "int8 per channel in 119 of 119 convolutions"
    assert found.meta["arithmetic"] == "int8 in 119 of 119 convolutions"
    state = found.fold().state
    for key, value in right.items():
        if key.endswith("weight"):
            step = np.abs(value).max((1, 2, 3), keepdims=True) / 127
            assert (np.abs(state[key] - value) <= 0.501 * step).all(), key
        else:
            assert np.abs(state[key] - value).max() <= 0.01, key


@pytest.mark.parametrize("kind", KINDS)
def test_info_says_what_it_computes(whole, kind):
    _, agreement = inspect(whole[kind])
    assert (f"; takes {kind}, scale 0.0" in agreement.summary()) == (kind != "float32")
    assert len(agreement.outputs) == 7
    assert agreement.precision == "w8a8"
    # A calibration by a few pictures may miss the bound; then the integers are what is named.
    assert agreement.ok or (agreement.explanation and agreement.explanation.differs == "the arithmetic")


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_near_the_network(whole, network, pictures, kind):
    """Each output next to one of the network's; mean differences of 0.02 and less were measured on 2026-11-27."""
    predictor = FORMATS["tflite"].run(whole[kind])
    for x in pictures[:2]:
        expected = TorchPredictor(network)(x)
        for answer in predictor(x).values():
            assert (answer.dtype, answer.shape) == (np.float32, (1, 1, *SIZE))
            assert min(float(np.abs(answer - right).mean()) for right in expected.values()) < 0.05


# --- MNN's converter

VENDOR = """
import sys, _tools
source, folder = sys.argv[1:]
for name, *options in [["fp32"], ["fp16", "--fp16"], ["int8", "--weightQuantBits", "8"]]:
    target = f"{folder}/{name}.mnn"
    _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "x", *options])
"""


@pytest.fixture(scope="module")
def tiny() -> Checkpoint:
    return hard_checkpoint(TINY)


@pytest.fixture(scope="module")
def vendors(tiny, tmp_path_factory) -> Path:
    """A folder of files that MNN's converter made of a module of other code, norms and all."""
    import torch
    from support.executorch_makers import Network

    folder = tmp_path_factory.mktemp("vendors")
    module = Network().eval()
    module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in tiny.full_state().items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = torch.zeros(1, 3, *SIZE)
        torch.onnx.export(module, (sample,), str(folder / "source.onnx"), opset_version=17, dynamo=False)
    command = [sys.executable, "-c", VENDOR, str(folder / "source.onnx"), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


@pytest.mark.parametrize(("name", "off"), [("fp32", 1e-6), ("fp16", 2**-10), ("int8", 2**-7)])
def test_mnn_files_of_another_module_are_read(vendors, tiny, name, off):
    found, right = read_source(vendors / f"{name}.mnn").fold(), tiny.fold()
    assert found.arch.blocks == right.arch.blocks
    for key, value in right.state.items():
        assert np.abs(found.state[key] - value).max() <= off * np.abs(value).max(), key
    assert ("quantised" in found.meta) == (name == "int8")


@pytest.mark.parametrize("name", ["fp32", "fp16", "int8"])
def test_mnn_files_of_another_module_compute_what_is_read_from_them(vendors, name):
    _, agreement = inspect(vendors / f"{name}.mnn")
    assert agreement.ok, agreement.summary()
    assert len(agreement.outputs) == 4
