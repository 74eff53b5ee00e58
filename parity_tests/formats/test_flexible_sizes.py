"""Core ML packages that take several sizes: a list, a range, and what the command writes of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.agreement import near
from support.commands import called
from support.networks import TINY, hard_checkpoint
from support.photographs import photograph

from converters import FORMATS, Options, convert
from converters.parity import picture_of
from converters.predictor import Predictor
from converters.torch_predictor import TorchPredictor
from u2net_zoo import Session
from u2net_zoo.arch import two_level
from u2net_zoo.errors import ArtifactError, OptionError, UsageError
from u2net_zoo.preprocessing import PROFILES


def pixels(size) -> np.ndarray:
    return PROFILES["paper"].pixels(photograph("chelsea.png"), size)


@pytest.fixture(scope="module")
def ranged(store, small_file) -> tuple[dict, Path]:
    """A package for a range of sizes, as the command makes it: its report and its folder."""

    def make(folder: Path) -> tuple[dict, Path]:
        done = called("convert", small_file, "--to", "coreml", "--size", "64..128", "--json", "-o", folder / "out")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), folder / "out"

    return store.once("coreml 64..128", make)


def test_one_package_is_right_at_every_size_of_a_list(tmp_path):
    options, network = Options(sizes=((64, 96), (96, 64), (128, 128)), size=(64, 96)), hard_checkpoint(TINY)
    artifact = convert(network, "coreml", tmp_path, options=options)[0]
    assert artifact.report.sizes
    right_at_every_size(artifact.path, network)
    assert Session(artifact.path).size == options.size


@pytest.mark.full
def test_one_package_is_right_at_every_size_of_a_range(small, ranged):
    told, folder = ranged
    predictor = right_at_every_size(folder / "small.mlpackage", small)
    assert told["artifacts"][0]["parity"]["sizes"]
    with pytest.raises(ArtifactError, match="takes sides that are multiples of 32, got 100x96"):
        predictor(pixels((100, 96)).transpose(2, 0, 1)[None])
    assert Session(folder / "small.mlpackage").size == (64, 64)


def right_at_every_size(path: Path, network) -> Predictor:
    predictor = FORMATS["coreml"].run(path)
    for size in ((96, 64), (128, 128)):
        wanted = picture_of(TorchPredictor(network), predictor.embedded, pixels(size))
        got = predictor(pixels(size).transpose(2, 0, 1)[None])["mask"][0, 0]
        assert near(got, wanted) >= 0.995
    with pytest.raises(UsageError, match="allowed"):
        predictor(pixels((32, 32)).transpose(2, 0, 1)[None])
    return predictor


@pytest.mark.full
def test_the_command_writes_package_and_swift_and_masks_with_it(ranged, tmp_path):
    folder = ranged[1]
    assert sorted(p.name for p in folder.iterdir()) == ["Small+Mask.swift", "small.mlpackage"]
    photograph("chelsea.png").save(tmp_path / "cat.png")
    done = called("mask", tmp_path / "cat.png", "-o", tmp_path / "mask.png", "--model", folder / "small.mlpackage")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "mask.png").size == photograph("chelsea.png").size


@pytest.mark.parametrize("size", ["512..256", "320,", "64..", "a..b", "64,abc"])
def test_sizes_that_are_none(small_file, tmp_path, size):
    done = called("convert", small_file, "--to", "coreml", "--size", size, "-o", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_legacy_is_a_form_of_coreml(small_file, tmp_path):
    done = called("convert", small_file, "--to", "onnx", "--legacy", "-o", tmp_path)
    assert done.returncode == 2
    assert "asks for no coreml" in done.stderr


def test_openvino_pools_no_map_of_one_pixel(tmp_path):
    shallow, deep = (
        hard_checkpoint(two_level(kind, [(kind, 4, 8), *[("4F", 4, 8)] * 2], [("4F", 4, 8), (kind, 4, 8)]))
        for kind in ("7", "8")
    )
    assert (shallow.arch.stride, deep.arch.stride) == (32, 64)
    assert convert(shallow, "openvino", tmp_path, options=Options(size=(32, 32)))[0].report.ok
    with pytest.raises(OptionError, match=r"'openvino' cannot honour --size 32x32: at least 33 on each side"):
        convert(deep, "openvino", tmp_path, options=Options(size=(32, 32)))
