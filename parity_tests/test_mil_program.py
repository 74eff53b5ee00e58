"""Whole ML Programs against Torch: u2netp with the authors' weights, converted with bare coremltools calls."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DATA, needs, noise_floor
from mil_models import MaskOnly, converted
from mil_programs import ct

from converters.mil import Package, convolutions, evaluate, trace
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import UnknownNameError, UsageError

torch = pytest.importorskip("torch", reason="torch is not installed: there is nothing to compare with")

from u2net_zoo import torch_model  # noqa: E402  after the skip

PHOTOGRAPHS = 2  # in the goldens


@pytest.fixture(scope="module")
def checkpoint(real_weights) -> Checkpoint:
    state = torch.load(real_weights, weights_only=True, map_location="cpu")
    return Checkpoint.from_state({key: value.numpy() for key, value in state.items()})


@pytest.fixture(scope="module")
def goldens() -> Any:
    return np.load(needs(DATA / "goldens" / "u2netp_real.npz"))


@pytest.fixture(scope="module")
def network(checkpoint):
    torch.set_num_threads(2)
    return torch_model.build(checkpoint.fold())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def full(network, folder) -> Package:
    """All seven outputs, float32, 320x320."""
    names = network.arch.outputs
    path = folder / "full.mlpackage"
    converted(network, path, (1, 3, 320, 320), outputs=[ct.TensorType(name) for name in names])
    return Package.open(path)


@pytest.fixture(scope="module")
def half(network, folder) -> Package:
    path = folder / "half.mlpackage"
    converted(MaskOnly(network), path, (1, 3, 320, 320), compute_precision=ct.precision.FLOAT16, target=ct.target.iOS17)
    return Package.open(path)


def iou(a, b):
    a, b = a > 0.5, b > 0.5
    return (a & b).sum() / (a | b).sum()


def photograph(goldens, index):
    return goldens[f"input{index}"].reshape(1, 3, 320, 320).astype(np.float32)


@pytest.mark.parametrize("index", range(PHOTOGRAPHS))
def test_float32_stays_within_three_noise_floors_on_every_output(full, checkpoint, goldens, index):
    x = photograph(goldens, index)
    got = evaluate(full, {"image": x})
    assert list(got) == list(full.outputs)
    exact = [goldens[f"d{n}_{index}"].reshape(value.shape) for n, value in enumerate(got.values())]
    noise = noise_floor(checkpoint, x, exact, goldens[f"noise_{index}"])
    for value, wanted, floor in zip(got.values(), exact, noise, strict=True):
        assert np.abs(value - wanted).max() <= 3 * floor + 1e-6


@pytest.mark.parametrize("index", range(PHOTOGRAPHS))
def test_float16_masks_are_those_of_float32(half, goldens, index):
    got = evaluate(half, {"image": photograph(goldens, index)})["mask"]
    wanted = goldens[f"d0_{index}"].reshape(got.shape)
    assert iou(got, wanted) >= 0.99
    assert np.abs(got - wanted).max() > 1e-4, "not a single rounding was done"


def test_trace_and_taps_show_what_the_outputs_come_from(full, goldens):
    x = {"image": photograph(goldens, 0)}
    seen = dict(trace(full, x))
    first = next(op for op in full.function.operations if op.kind == "conv").name
    taps = evaluate(full, x, taps=[first])
    assert taps.keys() == {*full.outputs, first}
    for name, value in taps.items():
        np.testing.assert_array_equal(value, seen[name])
    assert len(seen) == sum(len(op.outputs) for op in full.function.operations if not op.constant)
    with pytest.raises(UnknownNameError, match="unknown value 'nothing'"):
        evaluate(full, x, taps=["nothing"])


def test_values_are_dropped_after_their_last_use(full, goldens):
    machine, env, most = full._machine, {}, 0
    given = machine._encode({"image": photograph(goldens, 0)})
    for _ in machine._walk(given, set(full.function.outputs), env):
        most = max(most, sum(value.numel() for value in env.values()))
    assert set(env) == set(full.function.outputs)
    assert most <= 64 * 320 * 320 * 7  # all values of one evaluation together have 60 times as much


def test_convolutions_are_the_checkpoint_in_execution_order(full, half, checkpoint):
    folded = checkpoint.fold()
    units = folded.arch.units()
    for package, dtype in ((full, "fp32"), (half, "fp16")):
        found = convolutions(package)
        assert len(found) == len(units)
        for unit, conv in zip(units, found, strict=True):
            assert conv.dtype == dtype
            bound = 0 if dtype == "fp32" else 2**-10
            for got, leaf in ((conv.kernel, "weight"), (conv.bias, "bias")):
                np.testing.assert_allclose(got, folded.state[f"{unit.conv_path}.{leaf}"], rtol=bound, atol=bound * 1e-3)


def test_nothing_heavy_is_imported_with_the_package():
    heavy = ("torch", "coremltools", "google.protobuf")
    code = f"import sys, converters.mil; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_wrong_inputs_are_refused_in_one_line(full):
    image = np.zeros((1, 3, 320, 320), np.float32)
    for inputs, message in (
        ({}, "input 'image' is missing; the model takes: image"),
        ({"image": image, "x": image}, "unknown input 'x'; inputs: image"),
        ({"image": image[:, :, :300]}, r"got shape \(1, 3, 300, 320\); allowed: \(1, 3, 320, 320\)"),
        ({"image": image.astype(complex)}, "got dtype complex128; allowed: float32"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            evaluate(full, inputs)
        assert "\n" not in str(caught.value)
