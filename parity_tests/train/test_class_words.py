"""Names and colours of classes go with the weights from file to file, and commands follow them."""

import csv
import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.class_maps import NAMES
from support.commands import called
from support.data import TESTS
from support.networks import hard_checkpoint
from support.training import SHALLOW, SIDE

from converters import FORMATS, Options, convert
from converters.coreai.asset import write_words
from converters.format import Format
from converters.loading import classes_in, read_source, words_in
from u2net_zoo import Session
from u2net_zoo.apps.clothes import Clothes
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import CLASS_NAMES
from u2net_zoo.train.start import with_channels
from u2net_zoo.weight_words import classes_of, named_classes, own_words

KEEPING = {name: fmt for name, fmt in FORMATS.items() if type(fmt).words_in is not Format.words_in}
del KEEPING["web"]  # its page shows one mask, so several classes are refused
QUICK = ("safetensors", "onnx", "mnn")
NAMES_OF_FORMATS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in KEEPING]
WORDS = named_classes(NAMES, ("black", "#ff0000", "lime", "blue")).to_words()


@pytest.mark.parametrize("name", NAMES_OF_FORMATS)
def test_names_and_colours_go_from_file_to_file(name, tmp_path):
    checkpoint = hard_checkpoint(with_channels(SHALLOW, 4)).with_meta(**WORDS)
    fmt = KEEPING[name]
    missing = [package for package in fmt.packages if not find_spec(package)]
    if missing:
        pytest.skip(f"{name} needs {', '.join(missing)}")
    (artifact,) = convert(checkpoint, [name], tmp_path, options=Options(size=(SIDE, SIDE) if fmt.has_graph else None))
    expected = classes_of(WORDS)
    assert expected.colours[1] == (255, 0, 0)
    assert classes_in(artifact.path) == expected
    assert classes_of(read_source(artifact.path).meta) == expected
    assert Session(artifact.path, runtime="torch").profile.palette == expected.colours


def test_an_asset_of_core_ai_keeps_names_and_colours(tmp_path):
    path = Path(shutil.copytree(TESTS / "goldens" / "tiny.aimodel", tmp_path / "street.aimodel"))
    write_words(path, {}, WORDS)
    assert classes_in(path) == classes_of(WORDS)
    assert classes_of(read_source(path).meta) == classes_of(WORDS)


def test_a_folder_whose_words_are_written_anew_says_the_new_ones(tmp_path):
    path = Path(shutil.copytree(TESTS / "goldens" / "tiny.aimodel", tmp_path / "street.aimodel"))
    assert classes_in(path) is None
    before = path.stat()
    write_words(path, {}, WORDS)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as it is of itself where a file is written in place
    assert classes_in(path) == classes_of(WORDS)


def test_a_file_of_pictures_answers_in_the_weights_own_colours(tmp_path):
    checkpoint = hard_checkpoint(with_channels(SHALLOW, 4)).with_meta(**WORDS)
    convert(checkpoint, ["onnx"], tmp_path, options=Options(size=(SIDE, SIDE), io="image"))
    session = Session(next(tmp_path.glob("*.onnx")))
    labels = session.mask(Image.new("RGB", (20, 30), "teal"))
    assert (labels.mode, labels.size, labels.info[CLASS_NAMES]) == ("P", (20, 30), NAMES)
    assert labels.getpalette()[3:12] == [255, 0, 0, 0, 255, 0, 0, 0, 255]


@pytest.mark.full
def test_a_core_ml_package_and_a_tflite_file_name_the_trained_classes(taught_classes, tmp_path):
    from converters.formats.coreml_reader import specification

    tflite, package = convert(taught_classes, ["tflite", "coreml"], tmp_path, options=Options(size=(SIDE, SIDE)))
    words = specification(package.path).description.metadata.userDefined
    assert json.loads(words["com.apple.coreml.model.preview.params"])["labels"] == list(NAMES)
    for artifact in (tflite, package):
        assert classes_in(artifact.path).names == NAMES


@pytest.mark.parametrize(
    "words",
    [
        {"classes": "no JSON"},
        {"classes": "[" * 5000},
        {"classes": '["one"]'},
        {"classes": '["a", 2]'},
        {"classes": json.dumps(["x" * 65, "y"])},
        {"classes": json.dumps([str(n) for n in range(257)])},
        {"classes": json.dumps(["background", "\ud800x"])},
        {"classes": json.dumps(["background", "\x1b[31mred"])},
        {"classes": json.dumps(["background", "two\nlines"])},
        {"classes": json.dumps(["background", "road", "road"])},
        {"profile": "../paper"},
    ],
)
def test_a_strangers_words_that_make_no_sense_are_as_if_not_there(words):
    assert classes_of(words) is None
    assert own_words(words) == {}


def varint(value):
    """As protocol buffers have it: seven bits in each byte, the lowest first."""
    *more, last = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(byte | 0x80 for byte in more), last])


@pytest.mark.parametrize("length", [2**62, 2**63 + 5, 2**69], ids=["2^62", "2^63+5", "2^69"])
@pytest.mark.parametrize("nested", [False, True], ids=["file", "entry"])
def test_an_onnx_file_whose_field_is_longer_than_the_file_says_what_stands_before_it(length, nested, tmp_path):
    entry = bytes([1 << 3 | 2, 7]) + b"profile" + bytes([2 << 3 | 2, 4]) + b"grey"
    endless = bytes([10 << 3 | 2]) + varint(length) + b"abc"
    properties = bytes([14 << 3 | 2])
    endless = properties + varint(len(endless)) + endless if nested else endless
    path = tmp_path / "x.onnx"
    path.write_bytes(b"\x08\x08" + properties + varint(len(entry)) + entry + endless)
    assert words_in(path) == {"profile": "grey"}


@pytest.mark.parametrize("second", ["a_b", "A b"])
def test_classes_that_would_share_a_file_are_refused_when_typed_and_numbered_in_a_strangers(second):
    with pytest.raises(OptionError, match=f"classes a b and {second} would share a file"):
        named_classes(("background", "a b", second))
    names = classes_of({"classes": json.dumps(["background", "a b", second])}).names
    labels = Image.fromarray(np.arange(3, dtype=np.uint8)[None])
    labels.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    labels.info[CLASS_NAMES] = names
    clothes = Clothes().knowing(names)
    pictures = clothes.after(labels, labels).pictures
    assert tuple(pictures) == ("", *clothes.beside) == ("", "_1_a_b", f"_2_{second.replace(' ', '_')}")
    assert [np.asarray(pictures[key]).tolist() for key in clothes.beside] == [[[0, 255, 0]], [[0, 0, 255]]]


def test_eval_scores_a_model_by_the_classes_that_it_names(street, taught_classes, tmp_path):
    folders = ("--images", street / "images", "--masks", street / "maps")
    done = called("eval", taught_classes, *folders, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert list(said["class_iou"]) == list(NAMES)
    with (tmp_path / "classes.csv").open(encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert [row[0] for row in table] == ["class", *NAMES, "(mean)"]
    assert float(table[-1][1]) == pytest.approx(said["miou"], abs=1e-6)


def test_clothes_gives_a_mask_of_each_of_ones_own_classes(street, taught_classes, tmp_path):
    done = called("clothes", street / "images" / "0.png", "--model", taught_classes, "-o", tmp_path / "map.png")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "map.png", "map_full.png", "map_lower.png", "map_upper.png"
    ]  # fmt: skip
    whole = np.asarray(Image.open(tmp_path / "map.png"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "map_lower.png")) == 255, whole == 2)
