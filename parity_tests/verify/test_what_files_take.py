"""Files that normalise pixels themselves are fed pixels, wherever they come in; nothing is normalised twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import called
from support.data import NANO
from support.networks import hard_checkpoint
from support.photographs import photograph
from support.self_normalising import RECIPES, onnx_of_pixels

from converters import Options, convert
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from converters.verify.self_check import inspect
from u2net_zoo import Session
from u2net_zoo.conventions import INPUTS
from u2net_zoo.errors import ArtifactError, OptionError, UnknownNameError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.session import MaskSession

SIZE = (128, 128)
QUICK = ("onnx", "torchscript", "openvino")  # the others take their exporters seconds


@pytest.fixture(autouse=True)
def _own_records(tmp_path, monkeypatch):
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "records"))


@pytest.fixture(scope="module")
def nano():
    return read_source(NANO)


def mask_at(nano, size: tuple[int, int]) -> Image.Image:
    return MaskSession(TorchPredictor(nano), PROFILES["paper"], size=size).mask(photograph("coffee.png"))


@pytest.fixture(scope="module")
def right(nano) -> Image.Image:
    return mask_at(nano, SIZE)


def overlap(mask: Image.Image, other: Image.Image) -> float:
    a, b = (np.asarray(each) > 127 for each in (mask, other))
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def file(nano, tmp_path_factory) -> Path:
    return onnx_of_pixels(nano, tmp_path_factory.mktemp("file"), SIZE)


@pytest.mark.parametrize(
    "recipe", [pytest.param(key, marks=() if key[0] in QUICK else pytest.mark.full) for key in RECIPES], ids=" ".join
)
def test_a_session_finds_out_what_a_file_takes(recipe, nano, tmp_path):
    write, takes = RECIPES[recipe]
    session = Session(write(nano, tmp_path, SIZE))
    assert session.preparation.takes is INPUTS[takes]
    # Measured 2026-11-26: 0.998 where one deviation is each channel's own, 0.99 with Core ML's one for all.
    assert overlap(session.mask(photograph("coffee.png")), mask_at(nano, session.size)) >= 0.97


def test_it_is_found_out_once(file, monkeypatch):
    assert Session(file).preparation.takes is INPUTS["pixels"]
    monkeypatch.setattr("converters.verify.input_search.found_input", None)  # it cannot be found out again
    assert Session(file).preparation.takes is INPUTS["pixels"]


def test_our_onnx_files_say_it_themselves(nano, tmp_path, monkeypatch):
    """Where Torch is not there to find it out, and nothing is recorded."""
    path = convert(nano, "onnx", tmp_path, options=Options(size=SIZE))[0].path
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "another machine"))
    monkeypatch.setattr("converters.verify.input_search.found_input", None)
    assert Session(path).preparation.takes is INPUTS["normalised"]


def test_what_a_reader_says_of_a_file_does_not_go_into_the_next_one(nano, tmp_path):
    notes = {"quantised": "int8 per channel in 119 of 119 convolutions", "order": "guessed", "epsilon": "guessed"}
    path = convert(nano.with_meta(**notes), "onnx", tmp_path, options=Options(size=(32, 32)))[0].path
    assert not set(notes) & set(read_source(path).meta)
    assert read_source(path).assumed == ()


def test_what_is_asked_for_decides(file):
    assert Session(file, takes="unit").preparation.takes is INPUTS["unit"]
    with pytest.raises(UnknownNameError, match="input"):
        Session(file, takes="bytes")
    with pytest.raises(OptionError, match="not with weights"):
        Session(NANO, takes="pixels")


def test_what_cannot_be_told_is_refused_with_the_option_that_decides(nano, tmp_path):
    """A file whose answers have nothing to do with its weights."""
    import onnx

    path = onnx_of_pixels(nano, tmp_path, SIZE)
    model = onnx.load(str(path))
    last = model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("Sin", [f"{last.output[0]}_before"], [last.output[0]]))
    last.output[0] = f"{last.output[0]}_before"
    for node in model.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Exp"
    onnx.save(model, str(path))
    with pytest.raises(
        ArtifactError, match=r"its input convention is unknown: .*; name it with --input \(normalised, "
    ):
        Session(path)
    assert Session(path, takes="pixels").preparation.takes is INPUTS["pixels"]


@pytest.mark.parametrize("command", ["mask", "cutout", "eval"])
def test_every_command_feeds_it_so(command, file, right, tmp_path):
    photo = tmp_path / "in" / "coffee.png"
    photo.parent.mkdir()
    photograph("coffee.png").save(photo)
    if command == "eval":
        (tmp_path / "masks").mkdir()
        right.save(tmp_path / "masks" / "coffee.png")
        done = called("eval", file, "--images", photo.parent, "--masks", tmp_path / "masks", "--json")
        assert json.loads(done.stdout)["max_f"] >= 0.97
        return
    done = called(command, photo, "-o", tmp_path / "out.png", "--model", file)
    assert done.returncode == 0, done.stderr
    made = Image.open(tmp_path / "out.png")
    assert overlap(made if command == "mask" else made.getchannel("A"), right) >= 0.97


def test_info_says_that_it_agrees_and_how_it_is_fed(file):
    checkpoint, found = inspect(file)
    assert found.ok, found.summary()
    assert found.convention == "pixels 0..255"
    assert checkpoint.arch.parameters() == read_source(NANO).arch.parameters()


def test_convert_proves_its_source(file, tmp_path):
    done = called("convert", file, "--to", "safetensors", "--size", "64", "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    source = json.loads(done.stdout)["artifacts"][0]["source"]
    assert source["ok"]
    assert source["convention"] == "pixels 0..255"


@pytest.mark.full
@pytest.mark.parametrize(
    "recipe",
    [
        ("mlmodel", "a picture as it is in, grey levels out"),
        pytest.param(("coreml", "a picture as it is in, grey levels out"), marks=pytest.mark.full),
    ],
    ids=" ".join,
)
def test_masks_that_come_as_grey_pictures_are_as_precise_as_eight_bits(recipe, nano, tmp_path):
    path = RECIPES[recipe][0](nano, tmp_path, SIZE)
    found = inspect(path)[1]
    assert found.ok, found.summary()
    assert found.convention == "pixels 0..255"
    assert found.explanation.name.startswith("divided by 255")  # where the paper's profile divides by the maximum
    assert found.explanation.left < 1 / 255
    other = convert(hard_checkpoint(nano.arch), "safetensors", tmp_path)[0].path
    assert called("verify", path, "--against", other).returncode == 1
