"""Weights read back out of every format: any to any, other makers' files, widths and heads from the shapes alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.agreement import identical, largest_relative
from support.artifacts import ALL
from support.lasting import full_for
from support.networks import SMALL, hard_checkpoint

from converters import FORMATS, Options
from converters.loading import format_of, read_source, stem_of
from converters.torch_predictor import TorchPredictor
from u2net_zoo.arch import U2NETP
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, InputError
from u2net_zoo.folded import checkpoint_of

NORMS_KEPT = ("pth", "safetensors", "keras", "h5")  # the others are written folded
FORWARD = Options(size=(64, 64), outputs="all")
HALF = Options(size=(96, 128), outputs="all", precision="fp16")


def pairs(checkpoint: Checkpoint) -> list[tuple[np.ndarray, np.ndarray]]:
    folded = checkpoint.fold()
    paths = [unit.conv_path for unit in folded.arch.units()]
    return [(folded.state[f"{path}.weight"], folded.state[f"{path}.bias"]) for path in paths]


@pytest.fixture(scope="module")
def files(made) -> dict[str, Path]:
    """The small network in every format, written and proved."""
    return {name: artifact.path for name, artifact in made(FORWARD).items()}


@pytest.mark.parametrize("name", ALL)
def test_what_was_written_is_read_back(name, made, small):
    """Bit-identical arrays where names and fp32 are kept, folded weights to 1e-6, the same masks; all by one test."""
    found = read_source(made.one(name, FORWARD).path)
    assert found.arch == small.arch
    assert found.meta["format"] == name
    assert found.meta["sha256"]
    assert largest_relative(found, small) <= 1e-6
    if name in NORMS_KEPT:
        assert identical(found, small)
    else:
        assert identical(found.fold(), small.fold())
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    exact, single = TorchPredictor(small, "float64")(x), TorchPredictor(small)(x)
    for output, value in TorchPredictor(found)(x).items():
        noise = np.abs(single[output] - exact[output]).max()
        assert np.abs(value - exact[output]).max() <= 3 * noise + 1e-6


HALVES = [name for name in ALL if "fp16" in FORMATS[name].choices["precision"]]


@pytest.mark.parametrize("name", full_for(HALVES, "coreml"))
def test_half_precision_is_read_back(name, small, made):
    found = read_source(made.one(name, HALF).path)
    assert found.arch == small.arch
    assert 1e-6 < largest_relative(found, small) < 2e-3


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("final", ["sigmoid", "none"])
def test_widths_and_heads_follow_from_folded_shapes(classes: int, final: str):
    arch = replace(SMALL, out_ch=classes, final=final)
    checkpoint = Checkpoint(arch, hard_checkpoint(arch).state)
    found = checkpoint_of(pairs(checkpoint), final=final)
    assert found.arch == arch
    assert largest_relative(found, checkpoint) <= 1e-6


def test_known_networks_get_their_names():
    assert checkpoint_of(pairs(hard_checkpoint(U2NETP))).arch.name == "u2netp"


def test_what_does_not_fit_names_the_unit(small):
    wrong = pairs(small)
    wrong[20] = (np.zeros((3, 7, 3, 3), np.float32), None)
    with pytest.raises(
        CheckpointError, match=r"stage2\.rebnconv6\.conv_s1\.weight: expected \(4, 4, 3, 3\).*got \(3, 7"
    ):
        checkpoint_of(wrong)
    with pytest.raises(CheckpointError, match="118 convolutions; expected: u2net 119"):
        checkpoint_of(pairs(small)[1:])


def test_stems_lose_the_whole_suffix():
    assert stem_of("a/sky.ncnn.param") == "sky.ncnn"
    assert stem_of("a/u2netp_ncnn") == "u2netp"
    assert stem_of("a/u2netp.onnx") == "u2netp"


def test_a_part_of_a_pair_is_told_so(files, tmp_path):
    with pytest.raises(InputError, match=r"name the \.xml or \.param that it belongs to"):
        read_source(files["ncnn"] / "model.ncnn.bin")
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match="a folder that is not a model of a known kind"):
        read_source(tmp_path / "x")


def test_every_format_is_found_by_its_file(files):
    assert {name: format_of(path).name for name, path in files.items()} == {name: name for name in ALL}
