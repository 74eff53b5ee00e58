"""Drawings instead of masks: photograph and drawing side by side or in two folders, white paper, inverted labels."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.commands import called
from support.training import SHALLOW, SIDE

from converters import Options
from converters.planning.targets import at_the_size_of
from u2net_zoo import Session
from u2net_zoo.errors import InputError, OptionError
from u2net_zoo.train import pairs
from u2net_zoo.train.audit import audit
from u2net_zoo.train.augment import Augment
from u2net_zoo.train.labels import labels_of
from u2net_zoo.train.mask_sheet import GAP, first_samples, write_sheet
from u2net_zoo.train.mask_sheet import SIDE as TILE
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.run import Request, train
from u2net_zoo.train.samples import Samples
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh
from u2net_zoo.train.storing import write_weights

PORTRAIT = Recipe(profile="portrait", size=SIDE, crop=SIDE, batch=8, augment="none", rate=2e-2, steps=30)


@pytest.fixture(scope="session")
def faces(store):
    """Eight photographs of a ring, whose drawing is the ring in pencil; side by side, and in two folders."""

    def make(folder):
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        for name in ("both", "photographs", "drawings"):
            (folder / name).mkdir()
        for n in range(8):
            y, x = rng.integers(24, SIDE - 24, 2)
            ring = abs(np.hypot(rows - y, columns - x) - 16) < 4
            photograph = Image.fromarray(np.where(ring[..., None], (200, 140, 110), (30, 60, 40)).astype(np.uint8))
            drawing = Image.fromarray(np.where(ring, 20, 255).astype(np.uint8))
            both = Image.new("RGB", (2 * SIDE, SIDE))
            both.paste(photograph, (0, 0))
            both.paste(drawing, (SIDE, 0))
            both.save(folder / "both" / f"{n}.png")
            photograph.save(folder / "photographs" / f"{n}.png")
            drawing.save(folder / "drawings" / f"{n}.png")
        return folder

    return store.once("eight rings and their drawings", make)


def test_side_by_side_is_the_same_as_two_folders_and_the_label_is_the_pencil(faces):
    labels = labels_of(PORTRAIT)
    halves = pairs.find_halves(faces / "both")
    pairs.check(halves, labels)
    for one, other in zip(halves, pairs.find(faces / "photographs", faces / "drawings"), strict=True):
        (image, label), (image_2, label_2) = pairs.read(one, labels), pairs.read(other, labels)
        assert np.array_equal(image, image_2)
        assert np.array_equal(label, label_2)
    assert label.min() == 0  # white paper
    assert label.max() == pytest.approx(1 - 20 / 255)


def test_a_colour_in_a_drawings_jpeg_is_taken_for_its_luminance(faces, tmp_path):
    (tmp_path / "both").mkdir()
    Image.open(faces / "both" / "0.png").save(tmp_path / "both" / "0.jpg", quality=80)
    _, label = pairs.read(pairs.find_halves(tmp_path / "both")[0], labels_of(PORTRAIT))
    _, exact = pairs.read(pairs.find_halves(faces / "both")[0], labels_of(PORTRAIT))
    assert abs(label - exact).mean() < 0.05


def test_a_portrait_is_learned_and_drawn_dark_on_white(faces, tmp_path):
    request = Request(faces / "both", halves=True, start=fresh(SHALLOW, 0))
    train(request, PORTRAIT, Setting(tmp_path, accelerator="cpu", logs=False))
    session = Session(tmp_path / "model.safetensors", runtime="torch")
    assert session.profile.name == "portrait"
    picture, truth = Image.open(faces / "photographs" / "0.png"), np.asarray(Image.open(faces / "drawings" / "0.png"))
    drawing = session.preparation.mask(session.answer(session.profile.tensor(picture, (SIDE, SIDE))), picture.size)
    values = np.asarray(drawing, float)
    assert values[truth == 255].mean() > 200  # paper; measured 2026-11-27: 253
    assert values[truth == 20].mean() < 60  # pencil; measured 2026-11-27: 26
    assert at_the_size_of(tmp_path / "model.safetensors", Options()).size == (512, 512)


def test_a_sheet_shows_drawings_as_they_are_drawn(faces, tmp_path):
    samples = first_samples(Samples(pairs.find_halves(faces / "both")[:1], Augment(PORTRAIT, training=False)))
    write_sheet(tmp_path, 1, PORTRAIT, samples, np.full((1, 1, SIDE, SIDE), -9.0))
    sheet = np.asarray(Image.open(tmp_path / "sheets" / "epoch-0001.png"), float)
    drawing, answer = sheet[:, TILE + GAP : 2 * TILE + GAP], sheet[:, 2 * (TILE + GAP) :]
    assert np.median(drawing) == 255  # paper
    assert drawing.min() < 60
    assert answer.min() > 250  # no pencil


def test_drawings_that_are_inverted_or_empty_are_said_by_the_check(faces, tmp_path):
    labels, shown = labels_of(PORTRAIT), shutil.copytree(faces, tmp_path / "faces")
    assert audit(pairs.find_halves(faces / "both"), labels).problems == ()
    for path in (shown / "drawings").iterdir():
        ImageOps.invert(Image.open(path)).save(path)
    found = audit(pairs.find(shown / "photographs", shown / "drawings"), labels)
    assert found.problems[0].startswith("8 of 8 drawings are dark: are they inverted?")
    for path in (shown / "drawings").iterdir():
        Image.new("L", (SIDE, SIDE), "white").save(path)
    found = audit(pairs.find(shown / "photographs", shown / "drawings"), labels)
    assert found.problems == ("all 8 drawings are white paper",)


def test_the_command_checks_pictures_side_by_side(faces, tmp_path):
    write_weights(fresh(SHALLOW, 0), tmp_path / "start.safetensors")
    options = ("--finetune", tmp_path / "start.safetensors", "--crop", "32", "--rate", "1e-2")
    done = called(
        "train", "--images", faces / "both", "--side-by-side", "--profile", "portrait", *options, "--check", "--json"
    )
    assert json.loads(done.stdout)["pairs"] == 8
    assert done.returncode == 0, done.stderr


def test_halves_of_an_odd_width_and_one_folder_for_both_are_refused(faces, tmp_path):
    Image.new("RGB", (33, 16)).save(tmp_path / "odd.png")
    with pytest.raises(InputError, match=r"odd\.png: 33 pixels wide; two pictures side by side have an even width"):
        pairs.check(pairs.find_halves(tmp_path), labels_of(PORTRAIT))
    with pytest.raises(InputError, match="photographs and masks are one folder"):
        pairs.find(faces / "both", faces / "both")


def test_what_goes_with_no_drawings_is_refused(faces, tmp_path):
    with pytest.raises(OptionError, match="--classes with --profile portrait"):
        Recipe(profile="portrait", classes="paper,pencil")
    request = Request(faces / "both", faces / "drawings", halves=True)
    with pytest.raises(OptionError, match="--side-by-side: masks are in --images' right halves"):
        train(request, PORTRAIT, Setting(tmp_path))
