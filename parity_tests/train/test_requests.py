"""What a run is asked for: options that do not go together are refused, and weights are followed in what they say."""

import shutil
from pathlib import Path

import pytest
from support.class_maps import SMALL as FOUR
from support.commands import called
from support.training import SHALLOW

from u2net_zoo.cli.train import _weights
from u2net_zoo.errors import OptionError
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.train.fabric import make_fabric
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.run import Request, check_request, start_of
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import following, fresh, with_channels
from u2net_zoo.train.storing import write_weights

IMAGES, MASKS = Path("images"), Path("masks")


def weights(in_ch=3, **words):
    return fresh(with_channels(SHALLOW, 1, in_ch), 0).with_meta(**words)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"validation_masks": MASKS}, "--val-masks without --val-images; give both"),
        ({"validation_images": IMAGES}, "--val-images without --val-masks; give both"),
        ({"validation_images": IMAGES, "validation_masks": MASKS, "part": 0.2}, "--val-part with --val-images"),
        (
            {"start": weights(), "arch": "u2netp"},
            "--arch u2netp with --finetune: the weights are of shallow; leave --arch",
        ),
        ({"start": weights(), "resume": Path("run")}, "--finetune with --resume: a run goes on with its own weights"),
    ],
)
def test_an_option_that_would_not_count_is_refused(options, says):
    with pytest.raises(OptionError, match=says):
        check_request(Request(IMAGES, MASKS, **options), Recipe())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"devices": 0}, "devices 0; allowed: 1 and more"),
        ({"nodes": 0}, "nodes 0; allowed: 1 and more"),
        ({"workers": -1}, "workers -1; allowed: 0 and more"),
    ],
)
def test_machines_without_processes_are_refused(options, says):
    with pytest.raises(OptionError, match=says):
        Setting(Path("run"), **options)


@pytest.mark.parametrize("accelerator", ["tpu", "gpus"])
def test_an_accelerator_that_is_not_there_is_refused_and_those_that_are_named(accelerator, tmp_path):
    with pytest.raises(OptionError, match=rf"accelerator '{accelerator}'; this machine has: auto, cpu"):
        make_fabric(Recipe(), Setting(tmp_path, accelerator=accelerator, logs=False))


def test_devices_that_the_accelerator_cannot_give_are_refused_in_one_line(tmp_path):
    with pytest.raises(OptionError, match="--accelerator cpu --devices none: "):
        make_fabric(Recipe(), Setting(tmp_path, accelerator="cpu", devices="none", logs=False))


@pytest.mark.parametrize(
    ("classes", "colours", "says"),
    [
        ("a,b,b", "", "classes a, b, b: b twice; allowed are 2 to 256 different names"),
        ("a", "", "classes a: 1 names; allowed are 2 to 256"),
        ("a,b", "red,blau", "colour 'blau': allowed are #rrggbb and names such as red"),
    ],
)
def test_the_class_that_is_wrong_is_named(classes, colours, says):
    with pytest.raises(OptionError, match=says):
        Recipe(classes=classes, colours=colours)


def test_the_network_of_the_weights_may_be_named_whatever_its_channels():
    start = _weights(Path("u2net_nano"))
    check_request(Request(IMAGES, MASKS, start=start, arch="u2net_nano"), Recipe(profile="grey"))
    check_request(Request(IMAGES, MASKS, start=start, arch="u2net_nano"), FOUR)


@pytest.mark.parametrize("option", ["--profile", "--input"])
def test_predictions_are_scored_without_what_is_for_a_model(option, street):
    done = called("eval", street / "maps", "--masks", street / "maps", option, "paper")
    assert done.returncode == 2
    assert f"{option} with the predictions in" in done.stderr


@pytest.mark.parametrize(("profile", "channels"), [("rgba", 4), ("grey", 1), ("portrait", 3)])
def test_weights_to_start_from_are_followed_in_their_profile(profile, channels):
    assert following(Recipe(), weights(channels, profile=profile)).profile == profile


@pytest.mark.parametrize("words", [{}, {"profile": "isnet"}, {"profile": "grey"}], ids=["none", "untrained", "misfit"])
def test_a_profile_that_is_not_trained_or_does_not_fit_the_weights_is_not_followed(words):
    assert following(Recipe(), weights(**words)).profile == "paper"


def test_weights_that_see_more_channels_and_do_not_say_which_have_to_be_given_a_profile():
    recipe = following(Recipe(), weights(4))
    with pytest.raises(OptionError, match="see 4 channels, profile paper prepares 3; name one with --profile: rgba"):
        check_request(Request(IMAGES, MASKS, start=weights(4)), recipe)


def test_the_command_asks_for_a_profile_where_none_was_typed(street, tmp_path):
    write_weights(weights(4), tmp_path / "four.safetensors")
    data = ("--images", street / "images", "--masks", street / "maps", "-o", tmp_path / "run")
    done = called("train", *data, "--finetune", tmp_path / "four.safetensors")
    assert done.returncode == 2
    assert "name one with --profile" in done.stderr


@pytest.mark.full
def test_a_profile_that_was_typed_counts_more_than_the_weights_own(eight, tmp_path):
    write_weights(weights(), tmp_path / "drawn.safetensors", profile="portrait")
    data = ("--images", eight / "images", "--masks", eight / "masks", "-o", tmp_path / "run", "--workers", "0")
    small = ("--steps", "1", "--batch", "2", "--size", "64", "--crop", "64", "--accelerator", "cpu")
    for typed, profile in (((), "portrait"), (("--profile", "paper"), "paper")):
        done = called("train", *data, *small, "--finetune", tmp_path / "drawn.safetensors", *typed)
        assert done.returncode == 0, done.stderr
        assert read_checkpoint(tmp_path / "run" / "model.safetensors").meta["profile"] == profile
        shutil.rmtree(tmp_path / "run")


def test_names_of_the_catalog_bring_their_profile():
    assert _weights(Path("u2net_nano")).meta["profile"] == "paper"


@pytest.mark.parametrize(
    ("teacher", "ours", "says"),
    [
        ("portrait", "paper", "goes with profile portrait, not paper, which this run has; take --profile portrait"),
        ("paper", "portrait", "goes with profile paper, not portrait"),
        ("isnet", "paper", "not paper, which this run has; take another teacher"),
    ],
)
def test_a_teacher_that_is_used_to_other_pictures_or_labels_is_refused(teacher, ours, says):
    request = Request(IMAGES, start=weights(), teacher=weights(profile=teacher))
    with pytest.raises(OptionError, match=says):
        start_of(request, Recipe(profile=ours), [])


@pytest.mark.parametrize("teacher", ["paper", "rembg", "no such"])
def test_a_teacher_that_is_used_to_the_same_teaches(teacher):
    request = Request(IMAGES, start=weights(), teacher=weights(profile=teacher))
    assert start_of(request, Recipe(), []) is request.start
