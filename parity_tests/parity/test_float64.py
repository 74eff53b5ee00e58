"""The float64 network of the proof is Torch's own float64 network: layer by layer, and as a whole."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.networks import hard_checkpoint

from converters.parity import float64
from converters.parity.float64 import Float64Network, Stopped
from converters.torch_predictor import TorchPredictor
from u2net_zoo.arch import BN_EPS, Unit, two_level

SAME = 1e-12  # of the largest value; measured 2e-15 (layers) and 1e-13 (u2netp's seven outputs), 2026-11-26
SMALLEST = 1 << 12  # bytes of a band: several for each thread, even here
STAGES = ([("4", 4, 8), ("4", 4, 8), ("4F", 4, 8)], [("4", 4, 8), ("4", 4, 8)])

UNITS = {
    "3x3": Unit("b", "u", 5, 7),
    "more channels in than out": Unit("b", "u", 24, 2),
    "dilation 2": Unit("b", "u", 6, 4, dilation=2),
    "dilation 8": Unit("b", "u", 3, 4, dilation=8),
    "no norm": Unit("b", "u", 5, 7, norm=False),
    "a head": Unit("", "u", 5, 1, norm=False, relu=False),
    "1x1": Unit("", "u", 6, 1, kernel=1, norm=False, relu=False),
    "stride 2": Unit("", "u", 3, 8, norm=False, relu=False, stride=2),
    "stride 2, dilation 2": Unit("", "u", 3, 8, dilation=2, norm=False, relu=False, stride=2),
}
SIZES = [(1, 1), (1, 9), (7, 2), (13, 17), (32, 48), (5, 200)]


@pytest.fixture(params=[SMALLEST, float64.BAND], ids=["many bands", "usual bands"])
def bands(request, monkeypatch):
    monkeypatch.setattr(float64, "BAND", request.param)


def state_of(unit: Unit, rng: np.random.Generator) -> dict[str, np.ndarray]:
    state = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in unit.shapes()}
    return {key: abs(value) + np.float32(0.1) if key.endswith("running_var") else value for key, value in state.items()}


def of_torch(unit: Unit, state: dict[str, np.ndarray], x: torch.Tensor) -> torch.Tensor:
    tensors = {key: torch.from_numpy(np.asarray(value)).double() for key, value in state.items()}
    kernel, bias = (tensors[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
    y = F.conv2d(x[None], kernel, bias, unit.stride, unit.padding, unit.dilation)
    if unit.norm:
        mean, var, gamma, beta = (
            tensors[f"{unit.norm_path}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        y = F.batch_norm(y, mean, var, gamma, beta, training=False, eps=BN_EPS)
    return (F.relu(y) if unit.relu else y)[0]


@pytest.mark.parametrize("name", UNITS)
def test_a_convolution_is_torchs(name, bands):
    rng, unit = np.random.default_rng(0), UNITS[name]
    state = state_of(unit, rng)
    for size in SIZES:
        x = torch.from_numpy(rng.standard_normal((unit.in_ch, *size)))
        wanted = of_torch(unit, state, x)
        for parts in ((x,), tuple(x.split([1, unit.in_ch - 1]))):
            with float64._Workers() as workers:
                result = float64._Convolution.of(unit, state, parts).run(workers)
            assert result.shape == wanted.shape
            assert float((result - wanted).abs().max()) <= SAME * max(1.0, float(wanted.abs().max())), size


NETWORKS = {
    "masks": two_level("m", *STAGES),
    "classes": two_level("c", *STAGES, out_ch=4, final="none"),
    "a stem, unfused": two_level("s", *STAGES, stem_ch=8, fused=False),
    "one channel in": two_level("o", *STAGES, in_ch=1),
    "folded": two_level("f", *STAGES).fold(),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_torchs(name, bands):
    checkpoint = hard_checkpoint(NETWORKS[name])
    for size in ((64, 96), (47, 65)):
        x = np.random.default_rng(1).standard_normal((2, checkpoint.arch.in_ch, *size)).astype(np.float32)
        result, wanted = Float64Network(checkpoint)(x), TorchPredictor(checkpoint, "float64")(x)
        assert list(result) == list(wanted)
        for output, value in wanted.items():
            assert result[output].dtype == np.float64
            assert result[output].shape == value.shape
            assert np.abs(result[output] - value).max() <= SAME * max(1.0, np.abs(value).max()), output


def test_every_inner_map_is_torchs(bands):
    checkpoint = hard_checkpoint(NETWORKS["masks"])
    x = np.random.default_rng(2).standard_normal((2, 3, 33, 47)).astype(np.float32)
    wanted = dict(TorchPredictor(checkpoint, "float64").taps(x, checkpoint.arch))
    result = dict(Float64Network(checkpoint).taps(x, checkpoint.arch))
    assert list(result) == [unit.path for unit in checkpoint.arch.units()]
    for path, value in wanted.items():
        assert np.abs(result[path] - value).max() <= SAME * max(1.0, np.abs(value).max()), path


def test_the_wrong_epsilon_would_be_seen(monkeypatch):
    """What the tests above allow is less than the smallest fault that they are there for."""
    checkpoint = hard_checkpoint(NETWORKS["masks"])
    x = np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    wanted = TorchPredictor(checkpoint, "float64")(x)["mask"]
    monkeypatch.setattr(float64, "BN_EPS", 1.001e-5)
    assert np.abs(Float64Network(checkpoint)(x)["mask"] - wanted).max() > 1e3 * SAME


def test_threads_of_others_keep_their_share():
    before = torch.get_num_threads()
    checkpoint = hard_checkpoint(NETWORKS["masks"])
    Float64Network(checkpoint)(np.zeros((1, 3, 64, 64), np.float32))
    assert torch.get_num_threads() == before


def test_an_answer_that_nobody_wants_any_more_is_given_up():
    asked: list[bool] = []

    def third() -> bool:
        asked.append(True)
        return len(asked) == 3

    with pytest.raises(Stopped):
        Float64Network(hard_checkpoint(NETWORKS["masks"]), third)(np.zeros((1, 3, 64, 64), np.float32))
    assert len(asked) == 3
