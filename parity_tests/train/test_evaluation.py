"""`u2zoo eval`: hand-computed cases, the library alone, and pictures that cannot be scored."""

import csv
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import called, u2zoo
from support.data import DATA, needs
from support.photographs import photograph
from support.training import EIGHT, SIDE

from u2net_zoo import Session
from u2net_zoo.errors import InputError
from u2net_zoo.train.evaluate import compare
from u2net_zoo.train.metrics import MEASURES, boundary, f_measure, measure, relaxed_boundary_f
from u2net_zoo.train.pairs import listing

SOD = DATA / "sod"


def plane(rows: list[str]) -> np.ndarray:
    """`"..##"` to uint8: `#` is 255, `+` is 153 (0.6), `.` is 0."""
    return np.array([[{"#": 255, "+": 153, ".": 0}[c] for c in row] for row in rows], np.uint8)


def test_a_case_computed_by_hand():
    # Mask: 4 of 16 pixels. Prediction: 2 of them surely, 1 outside surely, 1 outside at 0.6.
    mask = plane(["##..", "##..", "....", "...."])
    ours = plane(["##..", "....", "#+..", "...."])
    scores = measure(ours, mask)
    assert scores.values["mae"] == pytest.approx((2 + 1 + 0.6) / 16)
    # Best threshold lies above 0.6: precision 2/3, recall 2/4.
    best = 1.3 * (2 / 3) * 0.5 / (0.3 * 2 / 3 + 0.5)
    assert scores.values["max_f"] == pytest.approx(best)
    assert scores.precision[0] == pytest.approx(2 / 3)
    assert scores.recall[0] == pytest.approx(1 / 2)
    assert scores.precision[255 - 153] == pytest.approx(2 / 4)
    assert (scores.precision[255], scores.recall[255]) == (4 / 16, 1)
    assert scores.values["iou"] == pytest.approx(2 / 6)  # at 0.5: 2 in both, 6 in either


def test_a_perfect_prediction_scores_one_everywhere():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 50), np.uint8)
    mask[8:30, 10:35] = 255
    values = measure(mask, mask).values
    assert values["mae"] == 0
    for name in MEASURES:
        if name not in ("mae", "mean_e"):
            assert values[name] == pytest.approx(1, abs=2e-3), name
    worse = measure(np.where(rng.random(mask.shape) < 0.3, 255 - mask, mask).astype(np.uint8), mask).values
    assert all(worse[name] < values[name] - 0.05 for name in MEASURES if name != "mae")


def test_the_boundary_is_the_outermost_ring_of_the_object():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    ring = boundary(mask)
    assert ring.sum() == 16
    assert not ring[3:6, 3:6].any()


def test_relaxed_boundary_f_computed_by_hand():
    def square(left: int) -> np.ndarray:
        mask = np.zeros((30, 40), bool)
        mask[5:15, left : left + 10] = True
        return mask

    assert relaxed_boundary_f(square(3), square(3)) == 1
    assert relaxed_boundary_f(square(3), square(6)) == 1  # moved by the slack itself
    # Moved by 4, slack 3. Of the 36 outline pixels 12 are missed, both ways alike: the 10 of the outer column, whose
    # nearest is 4 away, and the 2 in the middle of the inner column, 4 from the other's upper and lower row.
    assert _missed(square(3), square(7)) == _missed(square(7), square(3)) == 12
    assert relaxed_boundary_f(square(3), square(7)) == pytest.approx(24 / 36)
    nothing = np.zeros((30, 40), bool)
    assert relaxed_boundary_f(nothing, square(3)) == 0
    assert relaxed_boundary_f(nothing, nothing) == 1


def _missed(a: np.ndarray, b: np.ndarray) -> int:
    """Outline pixels of `a` with no outline pixel of `b` within 3 pixels, by looking at every pair."""
    ours, theirs = (np.argwhere(boundary(m)) for m in (a, b))
    return sum(min(np.hypot(*(p - q)) for q in theirs) > 3 for p in ours)


def test_f_is_zero_where_nothing_is_found():
    assert f_measure(np.array([0.0, 0.5]), np.array([0.0, 1.0])).tolist() == [0, pytest.approx(1.3 * 0.5 / 1.15)]


@pytest.fixture(scope="module")
def guessed(tmp_path_factory) -> Path:
    """The bundled network's soft masks of the eight, found in photographs of full size; the true ones in small ones."""
    folder, session = tmp_path_factory.mktemp("guessed"), Session("u2net_nano")
    for name in EIGHT:
        mask = session.mask(photograph(name))
        mask.resize((SIDE, SIDE)).save(folder / f"{name.split('.')[0]}.png")
    return folder


def test_masks_score_as_the_library_alone_says(guessed, eight):
    ours = compare(listing(guessed), listing(eight / "masks")).to_dict()
    assert ours["scored"] == 8
    _agrees_with_the_library(ours, guessed, eight / "masks")
    assert 0.9 < ours["iou"] < 0.96


@pytest.mark.full
def test_the_published_masks_score_as_the_library_alone_says():
    needs(SOD / "u2net")
    ours = compare(listing(SOD / "u2netp"), listing(SOD / "u2net"), workers=1).to_dict()
    assert ours["scored"] == 18
    _agrees_with_the_library(ours, SOD / "u2netp", SOD / "u2net")
    assert 0.9 < ours["iou"] < 0.96


def _agrees_with_the_library(ours: dict, predictions: Path, masks: Path) -> None:
    import py_sod_metrics as sod

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f, mae, s, e, w = sod.Fmeasure(), sod.MAE(), sod.Smeasure(), sod.Emeasure(), sod.WeightedFmeasure()
    for name, path in listing(predictions).items():
        given, true = (np.asarray(Image.open(p).convert("L")) for p in (path, masks / f"{name}.png"))
        for tool in (f, mae, s, e, w):
            tool.step(given, true)
    pr = f.get_results()["pr"]
    assert ours["mae"] == pytest.approx(mae.get_results()["mae"], abs=1e-12)
    assert ours["max_f"] == pytest.approx(f.get_results()["fm"]["curve"].max(), abs=1e-12)
    assert ours["max_f_of_means"] == pytest.approx(f_measure(pr["p"], pr["r"]).max(), abs=1e-12)
    assert ours["s"] == pytest.approx(s.get_results()["sm"], abs=1e-12)
    assert ours["mean_e"] == pytest.approx(e.get_results()["em"]["curve"].mean(), abs=1e-12)
    assert ours["max_e"] == pytest.approx(e.get_results()["em"]["curve"].max(), abs=1e-12)
    assert ours["weighted_f"] == pytest.approx(w.get_results()["wfm"], abs=1e-12)


@pytest.fixture
def odd(tmp_path):
    """Predictions and masks of which several are out of order; one pair is fine."""
    good = np.zeros((12, 16), np.uint8)
    good[3:9, 4:12] = 255
    for name in ("predictions", "masks"):
        (tmp_path / name).mkdir()
        for stem in ("alone", "broken", "colour", "empty", "fine", "size", "white"):
            Image.fromarray(good).save(tmp_path / name / f"{stem}.png")
    predictions, masks = tmp_path / "predictions", tmp_path / "masks"
    (masks / "alone.png").unlink()
    (predictions / "broken.png").write_bytes(b"\x89PNG not really")
    Image.new("RGB", (16, 12), (200, 10, 10)).save(masks / "colour.png")
    Image.new("L", (16, 12), 0).save(masks / "empty.png")
    Image.new("L", (15, 12), 0).save(masks / "size.png")
    Image.new("L", (16, 12), 255).save(predictions / "white.png")
    return predictions, masks


def test_pictures_that_are_out_of_order_are_flagged_and_nothing_dies(odd):
    report = compare(*map(listing, odd))
    assert {row.name for row in report.rows if row.scores is not None} == {"empty", "fine", "white"}
    flags = {name: " ".join(texts) for name, texts in report.flagged.items()}
    assert set(flags) == {"alone", "broken", "colour", "empty", "size", "white"}
    assert flags["alone"] == "no mask"
    assert "not a photograph that can be read" in flags["broken"] or "cannot be decoded" in flags["broken"]
    assert "not grey" in flags["colour"]
    assert flags["empty"] == "mask empty"
    assert flags["size"] == "other size: prediction and mask are 16x12 and 15x12"
    assert flags["white"] == "prediction all white"
    assert all(np.isfinite(value) for row in report.rows if row.scores for value in row.scores.values.values())


def test_processes_and_one_process_agree(odd):
    one, two = (compare(*map(listing, odd), workers=workers).to_dict() for workers in (1, 2))
    assert one == two


def test_nothing_to_score_is_an_error_that_says_why(odd):
    predictions, masks = map(listing, odd)
    with pytest.raises(InputError, match=r"none of 1 pictures could be scored; the first: size: other size"):
        compare({"size": predictions["size"]}, {"size": masks["size"]})


def test_the_command_writes_a_table_a_curve_and_a_plot(odd, tmp_path):
    predictions, masks = odd
    done = u2zoo("eval", predictions, "--masks", masks, "-o", tmp_path / "out", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert (content["pictures"], content["scored"]) == (7, 3)
    assert "size: other size" in done.stderr
    table = list(csv.DictReader((tmp_path / "out" / "pictures.csv").open()))
    assert [row["name"] for row in table][-1] == "(all)"
    assert float(table[-1]["mae"]) == pytest.approx(content["mae"], abs=1e-6)
    curve = list(csv.DictReader((tmp_path / "out" / "curve.csv").open()))
    assert [int(row["threshold"]) for row in curve] == list(range(255, -1, -1))
    assert Image.open(tmp_path / "out" / "curve.png").size == (750, 750)


def test_the_command_runs_a_model_over_photographs(eight, small_file, tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        shutil.copy(eight / folder / "coffee.png", tmp_path / folder)
    (tmp_path / "images" / "bad.jpg").write_bytes(b"no")
    arguments = ("eval", small_file, "--masks", tmp_path / "masks", "--workers", "1")
    done = called(*arguments, "--images", tmp_path / "images", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scored"] == 1
    assert "bad.jpg" in done.stderr
    assert "no --images for the model" in called(*arguments).stderr
