"""Results as files: what they hold, and what they never replace."""

import os
import re
import subprocess
import sys

import pytest
from PIL import Image
from support.commands import called

from converters import Options
from u2net_zoo.apps.saving import save


@pytest.mark.parametrize("mode", ["CMYK", "F", "YCbCr", "LAB", "I"])
def test_pictures_that_png_has_no_mode_for_become_rgb(mode, tmp_path):
    save(Image.new(mode, (4, 3)), tmp_path / "a.png", ".png")
    assert Image.open(tmp_path / "a.png").mode == "RGB"


@pytest.mark.parametrize(
    ("photographs", "out", "says"),
    [
        (["cat_mask.png"], "cat.png", r"cat_mask\.png: would replace a file that is read"),
        (["."], "out", r"a_mask\.png: would be the result of both"),
    ],
)
def test_what_is_written_beside_a_result_replaces_nothing_either(photographs, out, says, tmp_path):
    names = ["a.jpg", "a_mask.png", "cat_mask.png"]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    done = called("crop", *photographs, "-o", out, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(says, done.stderr)
    assert sorted(file.name for file in tmp_path.iterdir()) == names


def test_a_list_of_boxes_that_is_not_ours_is_kept(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "boxes.json").write_text('{"mine": 1}')
    done = called("boxes", "a.png", "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "boxes.json: was not written by this command" in done.stderr
    assert (tmp_path / "out" / "boxes.json").read_text() == '{"mine": 1}'
    (tmp_path / "out" / "boxes.json").unlink()
    for _ in range(2):  # its own it does replace
        assert called("boxes", "a.png", "-o", "out", cwd=tmp_path).returncode == 0


def test_a_name_that_is_no_utf8_is_a_name(made, tmp_path):
    model = made.one("onnx", Options(size=(64, 64), outputs="all")).path
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    os.rename(os.fsencode(tmp_path / "a.png"), os.fsencode(tmp_path) + b"/caf\xe9.png")
    command = [sys.executable, "-m", "u2net_zoo", "mask", ".", "-o", "out", "--model", model]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"caf\xe9.png" in done.stdout


def test_standard_input_is_one_photograph(tmp_path):
    done = called("mask", "-", "-o", tmp_path / "out", "--resume", input="")
    assert done.returncode == 2
    assert "standard input is one photograph; leave out --resume" in done.stderr
