"""Maps that are 0, or next to it, on every photograph: nothing is known of them, and no kernel is blown up for them."""

from dataclasses import replace

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint

from converters import FORMATS, Options, sample_images
from converters.formats.tflite_graph import integer_bytes
from converters.options import W8A8
from converters.quantise.equalise import MOST, equalised
from converters.quantise.integer_fit import fit
from converters.quantise.integer_network import Recipe, Steps
from converters.quantise.integer_walk import masks
from converters.quantise.sensitivity import SensitivityAnalysis
from converters.torch_predictor import TorchPredictor

SIZE = (64, 96)
TFLITE = FORMATS["tflite"]


@pytest.fixture(scope="module")
def network():
    return hard_checkpoint(TINY).fold()


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    return sample_images.tensors(SIZE)[:2]


@pytest.mark.parametrize("deep", [0.0, 1e-7, 5e-6])
def test_a_map_that_is_dead_on_every_photograph_spoils_nothing(network, inputs, deep):
    """Its kernel, blown up by up to a million, was one that XNNPACK refuses: such a file could not be opened."""
    from ai_edge_litert.interpreter import Interpreter

    unit = "stage2.rebnconv2"
    bias = f"{unit}.conv_s1.bias"
    dead = replace(network, state=network.state | {bias: np.full_like(network.state[bias], -100.0)})
    reach = SensitivityAnalysis(dead, inputs).reach()
    assert reach[unit].max() == 0
    level = equalised(dead, reach | {unit: reach[unit] + deep})
    assert np.abs(level.state[f"{unit}.conv_s1.weight"]).max() <= MOST
    found = fit(level, inputs, Steps.between(-2.2, 2.7), Recipe(frozenset())).network
    content = integer_bytes(found, TFLITE.settle(Options(size=SIZE, precision=W8A8)), {})
    Interpreter(model_content=content).allocate_tensors()
    exact = [TorchPredictor(dead)(x)["mask"][0] for x in inputs]
    apart = [float(np.abs(a - b).mean()) for a, b in zip(masks(found, inputs), exact, strict=True)]
    assert max(apart) < 0.02


@pytest.mark.parametrize("reach", [0.0, 1e-5, 1e-3])
def test_what_a_block_adds_shares_its_factors_however_little_it_reaches(network, inputs, reach):
    measured = SensitivityAnalysis(network, inputs).reach()
    level = equalised(network, measured | {"stage2": np.full_like(measured["stage2"], reach)})
    found, exact = (TorchPredictor(each)(inputs[0])["mask"] for each in (level, network))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)
