"""`u2zoo verify` of the bundled network in several formats, on real photographs: figures, exit codes, the page."""

import json
import shutil
from pathlib import Path

import pytest
from support import faults
from support.commands import called
from support.photographs import photograph
from support.reports import parsed

FORMATS = ("onnx", "openvino", "tflite")  # three runtimes
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in PHOTOGRAPHS:
        photograph(name, 300).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def verified(nano_made, photographs, tmp_path_factory):
    """The command's answer on the clean files, and its page."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    files = [nano_made.one(name).path for name in FORMATS]
    done = called("verify", *files, "--against", "u2net_nano", "--images", photographs, "--report", page, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout), page


def test_the_bundled_network_agrees_in_every_runtime(verified):
    said, _ = verified
    assert (said["against"], said["architecture"]) == ("u2net_nano", "u2net_nano")
    assert [found["format"] for found in said["artifacts"]] == list(FORMATS)
    for found in said["artifacts"]:
        assert (found["ok"], found["precision"], found["diagnosis"]) == (True, "fp32", None)
        assert found["size"] == [320, 320]
        assert not found["model"]["flat"]
        assert all(output["ratio"] <= 3 for output in found["model"]["outputs"])


def test_its_masks_of_photographs_agree_to_the_grey_level(verified):
    """Measured on 2026-11-26: IoU 1, MAE at most 6.7e-5 of 255, no pixel off by more than one grey level."""
    said, _ = verified
    for found in said["artifacts"]:
        assert [picture["name"] for picture in found["pictures"]] == list(PHOTOGRAPHS)
        for picture in found["pictures"]:
            assert picture["iou"] >= 0.9999
            assert picture["mae"] <= 1e-3
            assert picture["off"] == 0


def test_what_each_runtime_took_is_told(verified):
    said, _ = verified
    for found in said["artifacts"]:
        path = Path(found["path"])
        files = [path] if path.is_file() else path.rglob("*")
        assert found["bytes"] == sum(file.stat().st_size for file in files if file.is_file())
        assert 0 < found["seconds"] < 60
        assert found["load_seconds"] > 0
        assert 1e7 < found["memory_bytes"] < 1e10


def test_the_page_shows_all_of_them(verified):
    said, page = verified
    tree = parsed(page.read_text("utf-8"))
    assert tree.all("p", "result")[0].text.strip() == f"All {len(FORMATS)} artifacts agree with the checkpoint"
    names = [Path(found["path"]).name for found in said["artifacts"]]
    assert [card.all("h3")[0].text for card in tree.all("article", "card")] == names
    for photo, name in zip(tree.all("article", "photo"), PHOTOGRAPHS, strict=True):
        assert photo.all("h3")[0].text == name
        assert [tile.attributes["data-name"] for tile in photo.all("button", "tile")] == names


def test_one_wrong_file_among_right_ones_is_told_apart(nano_made, photographs, tmp_path):
    clean = nano_made.one("onnx").path
    wrong = faults.planted(clean, tmp_path / "wrong.onnx", faults.EDITS["align_corners=True"])
    shutil.copy(clean, tmp_path / "right.onnx")
    files = (tmp_path / "right.onnx", wrong)
    done = called("verify", *files, "--against", "u2net_nano", "--images", photographs / "chelsea.png")
    assert (done.returncode, done.stderr) == (1, "error: 1 of 2 outside the bounds: wrong.onnx\n")
    right, differs, first, reason, weights = done.stdout.splitlines()
    assert right.startswith(f"agrees    {files[0]}  tensor: ")
    assert "  pictures: IoU 1.0000  MAE 0.0" in right
    assert differs.startswith(f"differs   {files[1]}  tensor: ")
    assert first.strip().startswith("first divergence: stage1.rebnconv5d: ")
    assert reason.strip().startswith("resizing differs: align_corners=True explains it")
    assert weights.strip() == "weights: the checkpoint's, to within float32's rounding"
