"""`u2zoo train --check`: what is wrong with data, said before a run; and two pictures that are learned, or are not."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.commands import called
from support.training import SHALLOW, SIDE, Losses

from u2net_zoo.errors import InputError
from u2net_zoo.train import pairs
from u2net_zoo.train.audit import audit
from u2net_zoo.train.labels import Labels
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.rehearsal import rehearse
from u2net_zoo.train.run import Request, train
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh
from u2net_zoo.train.storing import write_weights

SMALL = {"size": SIDE, "crop": SIDE, "batch": 4, "steps": 2}


@pytest.fixture
def data(eight, tmp_path):
    """Eight photographs and their masks, to be damaged."""
    shutil.copytree(eight, tmp_path / "data")
    return tmp_path / "data"


def change(data, how, kind=None):
    """Every mask through `how`."""
    for path in (data / "masks").iterdir():
        mask = how(Image.open(path).convert("L"))
        (mask.convert(kind) if kind else mask).save(path)


def found(data):
    return audit(pairs.find(data / "images", data / "masks"), Labels())


def test_good_data_has_no_problems_and_every_pair_can_be_used(data):
    result = found(data)
    assert (result.problems, result.warnings) == ((), ())
    assert len(result.usable) == 8


def test_inverted_masks_are_named(data):
    change(data, ImageOps.invert)
    assert len(found(data).problems) == 1
    assert "are they inverted?" in found(data).problems[0]


def test_masks_that_are_all_empty_or_all_white_are_named(data):
    change(data, lambda mask: mask.point(lambda v: 0))
    assert found(data).problems == ("all 8 masks are empty",)
    change(data, lambda mask: mask.point(lambda v: 255))
    assert found(data).problems == ("all 8 masks are white all over",)


def test_indices_of_classes_that_stand_for_masks_are_named(data):
    change(data, lambda mask: mask.point(lambda v: 3 if v > 127 else 0))
    assert found(data).problems == (
        "the masks hold no more than 3 of 255 grey levels: are these indices of classes?"
        " Then name them: --classes NAME,NAME,…",
    )


def test_masks_of_zeros_and_ones_are_masks(data):
    change(data, lambda mask: mask.point(lambda v: v > 127))
    assert found(data).problems == ()


def test_colours_sizes_and_damage_are_named_and_the_other_pairs_are_used(data):
    names = sorted(path.name for path in (data / "masks").iterdir())
    Image.new("RGB", (SIDE, SIDE), "red").save(data / "masks" / names[0])
    Image.new("L", (SIDE, SIDE + 1)).save(data / "masks" / names[1])
    whole = (data / "masks" / names[2]).read_bytes()
    (data / "masks" / names[2]).write_bytes(whole[: len(whole) // 2])
    result = found(data)
    assert "not grey (mode RGB)" in result.problems[0]
    assert f"the mask is {SIDE}x{SIDE + 1}" in result.problems[0]
    assert "the mask cannot be read; replace it" in result.problems[0]
    assert "(3 of 8 masks cannot be used)" in result.problems[0]
    assert len(result.usable) == 5


def test_single_empty_masks_and_deep_ones_are_a_warning_and_are_not_fitted(data):
    names = sorted(path.name for path in (data / "masks").iterdir())
    Image.new("L", (SIDE, SIDE)).save(data / "masks" / names[0])
    deep = np.asarray(Image.open(data / "masks" / names[1]), np.uint16) * 16
    Image.fromarray(deep).save(data / "masks" / names[1])
    result = found(data)
    assert result.problems == ()
    assert result.warnings == (
        f"1 masks are empty or white all over: {names[0]}",
        f"1 masks have more than 8 bits; each is divided by its own highest value: {names[1]}",
    )
    assert result.usable[-1].mask.name == names[0]


def test_names_that_do_not_pair_are_said_with_what_the_masks_are_called(data):
    for path in sorted((data / "masks").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(
        InputError, match=r"no mask for .*; names have to be the same, and there is astronaut_mask\.png"
    ):
        pairs.find(data / "images", data / "masks")


def test_two_pictures_that_are_learned_are_no_problem_and_nothing_is_written(data, tmp_path):
    request = Request(data / "images", data / "masks", start=fresh(SHALLOW, 0))
    setting = Setting(tmp_path / "out", accelerator="cpu")
    (data / "masks" / "more.png").write_bytes((data / "masks" / "cell.png").read_bytes())
    result = rehearse(request, Recipe(**SMALL, rate=1e-2), setting)
    assert result.problems == ()
    assert result.data.warnings == ("1 masks have no photograph of their name: more.png",)
    assert result.fit.last < 0.6 * result.fit.first  # measured 2026-11-27: a fourteenth, IoU 0.96
    assert result.fit.iou > 0.5
    assert not (tmp_path / "out").exists()


def test_a_loss_that_does_not_fall_is_a_problem(data, tmp_path):
    request = Request(data / "images", data / "masks", start=fresh(SHALLOW, 0))
    result = rehearse(request, Recipe(**SMALL, rate=1e-12), Setting(tmp_path, accelerator="cpu"))
    assert len(result.problems) == 1
    assert result.problems[0].startswith("the loss does not fall: loss ")


@pytest.mark.full
def test_pairs_for_validation_are_looked_at_too(data, tmp_path):
    shutil.copytree(data, tmp_path / "aside")
    change(tmp_path / "aside", lambda mask: mask.point(lambda v: 0))
    aside = {"validation_images": tmp_path / "aside" / "images", "validation_masks": tmp_path / "aside" / "masks"}
    request = Request(data / "images", data / "masks", start=fresh(SHALLOW, 0), **aside)
    result = rehearse(request, Recipe(**SMALL | {"crop": 32}, rate=1e-2), Setting(tmp_path, accelerator="cpu"))
    assert result.problems == ("validation: all 8 masks are empty",)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        rehearse(replace(request, validation_masks=tmp_path / "nowhere"), Recipe(**SMALL), Setting(tmp_path))


def test_a_folder_with_an_earlier_run_is_refused_by_the_check_as_by_the_run(data):
    (data / "step-0000001.pt").touch()
    folders = ("--images", data / "images", "--masks", data / "masks", "-o", data)
    for check in ((), ("--check",)):
        done = called("train", *folders, "--arch", "u2net_nano", *check)
        assert (done.returncode, "holds an earlier run; go on with --resume" in done.stderr) == (2, True)


@pytest.mark.full
def test_keras_fits_the_same_two_pictures(data, tmp_path):
    recipe, setting = Recipe(**SMALL, rate=1e-2), Setting(tmp_path, accelerator="cpu")
    request = Request(data / "images", data / "masks", start=fresh(SHALLOW, 0))
    ours = rehearse(request, recipe, setting).fit
    theirs = rehearse(Request(**{**vars(request), "engine": "keras"}), recipe, setting).fit
    assert theirs.pictures == ours.pictures
    assert theirs.first == pytest.approx(ours.first, rel=1e-4)
    assert theirs.learns


def test_a_photograph_that_cannot_be_read_is_named_before_the_first_step(data, tmp_path):
    broken = data / "images" / "coffee.png"
    broken.write_bytes(broken.read_bytes()[:200])
    order = []

    class Watcher(Losses):
        def step(self, step, loss):
            order.append(step)

        def noted(self, text):
            order.append(text)

    request = Request(data / "images", data / "masks", start=fresh(SHALLOW, 0))
    setting = Setting(tmp_path / "out", accelerator="cpu", logs=False, watcher=Watcher())
    train(request, Recipe(**SMALL), setting)
    assert order == [f"{broken} cannot be read (1 of 8 photographs); passed over", 1, 2]


def test_the_command_says_it_and_ends_with_1(data):
    change(data, ImageOps.invert)
    write_weights(fresh(SHALLOW, 0), data / "start.safetensors")
    folders = ("--images", data / "images", "--masks", data / "masks", "--finetune", data / "start.safetensors")
    done = called("train", *folders, "--crop", "32", "--rate", "1e-2", "--check", "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["pairs"], said["ok"], len(said["problems"])) == (8, False, 1)
    assert done.stderr.splitlines() == ["error: 1 of what was checked is not as it should be"]


def test_a_run_without_a_folder_for_its_weights_is_refused(data):
    done = called("train", "--images", data / "images", "--masks", data / "masks")
    assert done.returncode == 2
    assert "no -o: name a folder" in done.stderr


def missing(data):
    (data / "masks" / "cell.png").unlink()
    return r"masks: no mask for cell\.png \(1 of 8 photographs\)"


def other_size(data):
    Image.new("L", (SIDE, 9)).save(data / "masks" / "cell.png")
    return rf"cell\.png: the mask is {SIDE}x9, its photograph {SIDE}x{SIDE}"


def unreadable(data):
    (data / "masks" / "cell.png").write_bytes(b"")
    return r"cell\.png: the mask cannot be read"


def no_masks(data):
    shutil.rmtree(data / "masks")
    (data / "masks").mkdir()
    return "masks: no pictures in it"


def no_photograph_can_be_read(data):
    for path in (data / "images").iterdir():
        path.write_bytes(b"no picture")
    return "none of the 8 photographs can be read"


def deep_map(data):
    change(data, lambda mask: Image.fromarray(np.asarray(mask, np.uint16) * 16))
    return r"astronaut\.png, .*: holds 4080; the 2 classes are 0 background to 1 object"


@pytest.mark.parametrize("fault", [missing, other_size, unreadable, no_masks, no_photograph_can_be_read, deep_map])
def test_bad_data_is_one_line_before_the_first_step(fault, data, tmp_path):
    says = fault(data)
    classes = ("--classes", "background,object") if fault is deep_map else ()
    folders = ("--images", data / "images", "--masks", data / "masks")
    done = called("train", *folders, *classes, "--arch", "u2net_nano", "-o", tmp_path / "run")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(says, line)
    assert not (tmp_path / "run").exists()
