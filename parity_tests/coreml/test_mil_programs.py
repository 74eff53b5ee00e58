"""Whole ML Programs against Torch: trained networks, converted with bare coremltools calls."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.data import DATA, ROOT, needs
from support.goldens import Golden, noise_floor
from support.mil_models import MaskOnly, converted, convolutions
from support.mil_programs import ct

from converters.mil import Package, evaluate, trace
from converters.mil.evaluator import Machine
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import UnknownNameError, UsageError
from u2net_zoo.reading import read_checkpoint

torch = pytest.importorskip("torch", reason="torch is not installed: there is nothing to compare with")

from u2net_zoo import torch_model  # noqa: E402  after the skip

PHOTOGRAPHS = 2  # of each network's goldens


@dataclass(frozen=True)
class Known:
    """A network, and what it answers to photographs in float64.

    Attributes:
        photograph: number -> (1, 3, 320, 320) float32.
        exact: number -> float64 outputs by name; `noise`: how far Torch's float32 strays from each.
        held: elements that an evaluation holds at once, at most, when it drops what nobody takes any more.
        iou: the least of the float16 masks.
    """

    checkpoint: Checkpoint
    photograph: Callable[[int], np.ndarray]
    exact: Callable[[int], dict[str, np.ndarray]]
    noise: Callable[[int], dict[str, float]]
    held: int
    iou: float


def bundled() -> Known:
    """Measured 2026-11-26: IoU 0.99991 and 0.99951; at most 38.7 maps of 320x320 at once, 498 in all."""
    golden = Golden("u2net_nano")
    return Known(golden.checkpoint, golden.input, golden.exact, golden.noise, held=40 * 320 * 320, iou=0.999)


def authors() -> Known:
    """u2netp; the figures are those of the authors' own code. All values of an evaluation have 60 times as many."""
    checkpoint = read_checkpoint(needs(DATA / "weights" / "u2netp.pth"))
    file = np.load(needs(DATA / "goldens" / "u2netp_real.npz"))

    def exact(n: int) -> dict[str, np.ndarray]:
        values = (file[f"d{side}_{n}"].reshape(1, 1, 320, 320) for side in range(7))
        return dict(zip(checkpoint.arch.outputs, values, strict=True))

    def noise(n: int) -> dict[str, float]:
        here = noise_floor(checkpoint, file[f"input{n}"], exact(n))
        recorded = dict(zip(checkpoint.arch.outputs, file[f"noise_{n}"].tolist(), strict=True))
        return {name: max(here[name], recorded[name]) for name in recorded}

    return Known(checkpoint, lambda n: file[f"input{n}"], exact, noise, held=64 * 320 * 320 * 7, iou=0.99)


@pytest.fixture(scope="module", params=[bundled, pytest.param(authors, marks=pytest.mark.full)], ids=["nano", "u2netp"])
def known(request) -> Known:
    return request.param()


@pytest.fixture(scope="module")
def network(known) -> Any:
    return torch_model.build(known.checkpoint.fold())


@pytest.fixture(scope="module")
def full(network, tmp_path_factory) -> Package:
    """All seven outputs, float32, 320x320."""
    path = tmp_path_factory.mktemp("full") / "full.mlpackage"
    converted(network, path, (1, 3, 320, 320), outputs=[ct.TensorType(name) for name in network.arch.outputs])
    return Package.open(path)


@pytest.fixture(scope="module")
def half(network, tmp_path_factory) -> Package:
    path = tmp_path_factory.mktemp("half") / "half.mlpackage"
    converted(MaskOnly(network), path, (1, 3, 320, 320), compute_precision=ct.precision.FLOAT16, target=ct.target.iOS17)
    return Package.open(path)


def iou(a, b):
    a, b = a > 0.5, b > 0.5
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("number", range(PHOTOGRAPHS))
def test_float32_stays_within_three_noise_floors_on_every_output(full, known, number):
    got = evaluate(full, {"image": known.photograph(number)})
    assert list(got) == list(full.outputs)
    exact, noise = known.exact(number), known.noise(number)
    for name, value in zip(exact, got.values(), strict=True):
        assert np.abs(value - exact[name]).max() <= 3 * noise[name] + 1e-6, name


@pytest.mark.parametrize("number", range(PHOTOGRAPHS))
def test_float16_masks_are_those_of_float32(half, known, number):
    got = evaluate(half, {"image": known.photograph(number)})["mask"]
    wanted = known.exact(number)["mask"]
    assert iou(got, wanted) >= known.iou
    assert np.abs(got - wanted).max() > 1e-4, "not a single rounding was done"


def test_trace_and_taps_show_what_the_outputs_come_from(full, known):
    x = {"image": known.photograph(0)}
    seen = dict(trace(full, x))
    first = next(op for op in full.function.operations if op.kind == "conv").name
    taps = evaluate(full, x, taps=[first])
    assert taps.keys() == {*full.outputs, first}
    for name, value in taps.items():
        np.testing.assert_array_equal(value, seen[name])
    assert len(seen) == sum(len(op.outputs) for op in full.function.operations if not op.constant)
    with pytest.raises(UnknownNameError, match="unknown value 'nothing'"):
        evaluate(full, x, taps=["nothing"])


def test_values_are_dropped_after_their_last_use(full, known):
    machine, env, most = Machine(full), {}, 0
    given = machine._encode({"image": known.photograph(0)})
    for _ in machine._walk(given, set(full.function.outputs), env):
        most = max(most, sum(value.numel() for value in env.values()))
    assert set(env) == set(full.function.outputs)
    assert most <= known.held


def test_convolutions_are_the_checkpoint_in_execution_order(full, half, known):
    folded = known.checkpoint.fold()
    units = folded.arch.units()
    for package, dtype in ((full, "fp32"), (half, "fp16")):
        found = convolutions(package)
        assert len(found) == len(units)
        assert {op.outputs[0][1].dtype.name for op in package.function.operations if op.kind == "conv"} == {dtype}
        for unit, conv in zip(units, found, strict=True):
            bound = 0 if dtype == "fp32" else 2**-10
            for got, leaf in ((conv.kernel, "weight"), (conv.bias, "bias")):
                np.testing.assert_allclose(got, folded.state[f"{unit.conv_path}.{leaf}"], rtol=bound, atol=bound * 1e-3)


def test_nothing_heavy_is_imported_with_the_package():
    heavy = ("torch", "coremltools", "google.protobuf")
    code = f"import sys, converters.mil; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
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
