"""Pixels of a map that are of no class: not learned, not counted, not scored."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.class_maps import NAMES, SMALL
from support.commands import called
from support.training import SHALLOW, SIDE

from u2net_zoo.errors import InputError
from u2net_zoo.train import pairs
from u2net_zoo.train.audit import audit
from u2net_zoo.train.augment import Augment
from u2net_zoo.train.class_weights import pixels_of_classes
from u2net_zoo.train.keras_loop import loss_of
from u2net_zoo.train.labels import IGNORED, Labels, labels_of
from u2net_zoo.train.losses import deep_cross_entropy
from u2net_zoo.train.mask_sheet import LEFT_OUT
from u2net_zoo.train.rehearsal import rehearse
from u2net_zoo.train.run import Request, train
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh, with_channels


def void(tmp_path, street, number=255):
    """The street's maps with a rim of pixels that nobody labelled, and the run that leaves them out."""
    (tmp_path / "maps").mkdir()
    for path in (street / "maps").iterdir():
        values = np.asarray(Image.open(path)).copy()
        values[:6] = values[:, :6] = number
        Image.fromarray(values).save(tmp_path / "maps" / path.name)
    return tmp_path / "maps", replace(SMALL, ignore=number)


def test_pixels_that_are_left_out_are_of_no_class_and_count_nowhere(street, tmp_path):
    maps, recipe = void(tmp_path, street)
    pair = pairs.find(street / "images", maps)[0]
    _, indices = pairs.read(pair, labels_of(recipe))
    whole = np.asarray(Image.open(street / "maps" / pair.mask.name))
    assert set(indices[:6].ravel()) == set(indices[:, :6].ravel()) == {IGNORED}
    assert np.array_equal(indices[6:, 6:], whole[6:, 6:])
    counts = pixels_of_classes(pair, labels_of(recipe))
    assert np.array_equal(counts, np.bincount(whole[6:, 6:].ravel(), minlength=4))
    found = audit(pairs.find(street / "images", maps), labels_of(recipe))
    assert (found.problems, found.warnings) == ((), ())


def save(values, path):
    Image.fromarray(np.array(values, np.int32)).save(path)
    return path


def test_without_the_option_every_number_is_judged(tmp_path):
    with pytest.raises(InputError, match="holds -1; the 4 classes"):
        Labels(NAMES).read(save([[0, 1], [2, -1]], tmp_path / "a.tif"))


@pytest.mark.parametrize(
    ("ignore", "values", "says"),
    [
        (128, [[128, 255]], "holds 255; the 4 classes are 0 background to 3 full$"),
        (255, [[0, 254, 255]], "holds 254; the 4 classes are 0 background to 3 full$"),
        (255, [[0, 70000]], "holds 70000; the 4 classes are 0 background to 3 full$"),
        (-1, [[0, 70000]], "holds 70000; the 4 classes are 0 background to 3 full$"),
        (-1, [[0, 254, 255]], "holds 255; the 4 classes are 0 background to 3 full$"),
    ],
)
def test_advice_is_given_where_it_helps_alone(ignore, values, says, tmp_path):
    with pytest.raises(InputError, match=says):
        Labels(NAMES, ignore=ignore).read(save(values, tmp_path / "a.tif"))


def test_augmentation_makes_no_other_numbers(street, tmp_path):
    maps, recipe = void(tmp_path, street)
    image, indices = pairs.read(pairs.find(street / "images", maps)[0], labels_of(recipe))
    for kind in ("authors", "strong", "none"):
        draw = Augment(replace(recipe, augment=kind, size=64, crop=48))
        found = {value for n in range(8) for value in np.unique(draw(image, indices, 0, n)[1])}
        assert found <= {IGNORED, 0, 1, 2, 3}
        assert IGNORED in found


def test_maps_of_nothing_but_left_out_pixels_are_named(street, tmp_path):
    (tmp_path / "maps").mkdir()
    for path in (street / "maps").iterdir():
        Image.new("L", (SIDE, SIDE), 255).save(tmp_path / "maps" / path.name)
    found = audit(pairs.find(street / "images", tmp_path / "maps"), labels_of(replace(SMALL, ignore=255)))
    assert found.problems == ("the masks hold 255 alone, which is left out",)


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 4.0]])
def test_the_loss_does_not_see_what_is_left_out(weights):
    rng = np.random.default_rng(0)
    logits, index = rng.normal(0, 2, (2, 4, 6, 6)).astype(np.float32), rng.integers(0, 4, (2, 1, 6, 6))
    index[:, :, :2] = IGNORED
    given = None if weights is None else torch.tensor(weights)
    loss = deep_cross_entropy([torch.from_numpy(logits)], torch.from_numpy(index), given)
    seen = deep_cross_entropy([torch.from_numpy(logits[:, :, 2:])], torch.from_numpy(index[:, :, 2:]), given)
    assert float(loss) == pytest.approx(float(seen), rel=1e-6)
    in_keras = loss_of(replace(SMALL, ignore=255), None if weights is None else np.float32(weights))
    last = (0, 2, 3, 1)
    assert float(in_keras(index.transpose(last), logits.transpose(last))) == pytest.approx(float(seen), rel=1e-5)
    nothing = np.full_like(index, IGNORED)
    wanted = torch.from_numpy(logits).requires_grad_()
    none = deep_cross_entropy([wanted], torch.from_numpy(nothing), given)
    none.backward()
    assert (float(none.detach()), float(wanted.grad.abs().max())) == (0, 0)
    assert float(in_keras(nothing.transpose(last), logits.transpose(last))) == 0


@pytest.mark.parametrize("engine", ["torch", pytest.param("keras", marks=pytest.mark.full)])
def test_a_run_leaves_pixels_out(engine, street, tmp_path):
    maps, recipe = void(tmp_path, street)
    request = Request(street / "images", maps, part=0.5, start=fresh(with_channels(SHALLOW, 4), 0), engine=engine)
    few = replace(recipe, steps=2, batch=4, class_weights="balanced")
    outcome = train(request, few, Setting(tmp_path / "run", accelerator="cpu"))
    assert 0 < outcome.loss < 100
    assert 0 < outcome.best < 100
    sheet = np.asarray(Image.open(tmp_path / "run" / "sheets" / "epoch-0001.png").convert("RGB"))
    rim, inside = sheet[10, 132 + 10], sheet[100, 132 + 64]  # of the first map
    assert tuple(rim) == LEFT_OUT != tuple(inside)
    found = rehearse(request, few, Setting(tmp_path / "check", accelerator="cpu", logs=False))
    assert found.problems == ()


def test_scores_leave_pixels_out(tmp_path):
    for folder, values in (("ours", [[0, 0, 1, 1], [2, 2, 2, 0]]), ("theirs", [[0, 1, 1, 255], [2, 2, 0, 255]])):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array(values, np.uint8)).save(tmp_path / folder / "a.png")
        Image.new("L", (3, 3), 255 if folder == "theirs" else 0).save(tmp_path / folder / "b.png")
    words = ("eval", tmp_path / "ours", "--masks", tmp_path / "theirs", "--json")
    named = ("--classes", ",".join(NAMES))
    done = called(*words, *named, "--ignore", "255")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["class_iou"] == {"background": 1 / 3, "upper": 1 / 2, "lower": 2 / 3, "full": None}
    assert (found["pixel_accuracy"], found["scored"]) == (4 / 6, 1)
    assert found["flags"] == {"b": ["the mask holds 255 alone, which is left out"]}
    assert "--ignore 255 leaves it out of true maps" in called(*words, *named).stderr
    for more, says in (((), "for maps name --classes"), (named, "is class lower; allowed: numbers that are no class")):
        refused = called(*words, *more, "--ignore", "2")
        assert (refused.returncode, says in refused.stderr) == (2, True)
