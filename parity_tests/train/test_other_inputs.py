"""Networks that do not see RGB: grey ones and ones of four channels, from training to a mask."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.artifacts import nano
from support.commands import called
from support.networks import hard_checkpoint
from support.photographs import photograph
from support.training import SHALLOW, SIDE

from converters import Options, convert
from converters.loading import profile_in
from u2net_zoo import Session
from u2net_zoo.errors import ArtifactError, OptionError
from u2net_zoo.photographs import planes
from u2net_zoo.preprocessing import get_profile
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import build
from u2net_zoo.train import pairs
from u2net_zoo.train.augment import Augment
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.run import Request, train
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import adapted, fresh, with_channels
from u2net_zoo.train.storing import write_weights

CHANNELS = {"grey": 1, "rgba": 4}


@pytest.fixture
def xray() -> Image.Image:
    """A grey picture whose brightest value is not white."""
    return Image.fromarray((np.mgrid[:50, :70].sum(0) + 40).astype(np.uint8))


@pytest.fixture(scope="session")
def trained(eight, store):
    """Profile -> weights that were trained for two steps on pictures of so many channels."""

    def make(folder):
        weights = {}
        for profile, channels in CHANNELS.items():
            request = Request(
                eight / "images", eight / "masks", start=fresh(with_channels(SHALLOW, 1, channels), 0), part=0.2
            )
            recipe = Recipe(size=SIDE, crop=SIDE, batch=4, steps=2, augment="strong", profile=profile)
            train(request, recipe, Setting(folder / profile, accelerator="cpu"))
            weights[profile] = folder / profile / "model.safetensors"
        return weights

    return store.once("two steps on other channels", make)


def test_grey_is_the_papers_preparation_of_a_grey_picture_in_one_channel(xray):
    ours, papers = (get_profile(name).tensor(xray, (64, 64)) for name in ("grey", "paper"))
    assert ours.shape == (1, 1, 64, 64)
    assert np.array_equal(ours, papers[:, :1])


def test_colours_are_grey_by_their_luminance_in_8_and_16_bits(xray):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    red.putpixel((0, 0), (255, 255, 255))  # what it is divided by
    share = get_profile("grey").tensor(red, (8, 8))[0, 0, 4, 4] * 0.229 + 0.485
    assert share == pytest.approx(0.299, abs=2e-3)
    deep = Image.fromarray(np.asarray(xray, np.uint16) * 257)
    shallow = get_profile("grey").tensor(xray, (32, 32))
    np.testing.assert_allclose(get_profile("grey").tensor(deep, (32, 32)), shallow, atol=1e-5)


def test_alpha_is_the_fourth_channel():
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    picture.putalpha(Image.new("L", (8, 8), 51))
    x = get_profile("rgba").tensor(picture, (8, 8))
    assert x.shape == (1, 4, 8, 8)
    assert x[0, 3] == pytest.approx((0.2 - 0.5) / 0.25)
    assert x[0, 0] == pytest.approx((1 - 0.485) / 0.229)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_four_channels_of_a_deep_grey_picture_are_those_of_its_8_bits(kind, xray):
    deep = Image.fromarray((np.asarray(xray, np.float64) * (1 / 255 if kind is np.float32 else 257)).astype(kind))
    ours, _ = planes(deep, 4)
    assert np.array_equal(ours, planes(xray, 4)[0])
    assert ours[..., 3].min() == 255


@pytest.mark.parametrize("profile", CHANNELS)
def test_training_sees_what_the_profile_gives(profile, eight):
    pair = pairs.find(eight / "images", eight / "masks")[0]
    image, mask = pairs.read(pair, channels=CHANNELS[profile])
    ours, _ = Augment(Recipe(profile=profile), training=False)(image, mask, 0, 0)
    assert np.array_equal(ours, get_profile(profile).tensor(Image.open(pair.image), (320, 320))[0])


def test_weights_of_rgb_answer_grey_pictures_as_before():
    cameraman = photograph("camera.png", 128).convert("L")
    ours, before = build(adapted(nano(), 1, 0, in_ch=1)), build(nano())
    given = (torch.from_numpy(get_profile(name).tensor(cameraman, (128, 128))) for name in ("grey", "paper"))
    with torch.no_grad():
        grey, rgb = (model(x)[0] for model, x in zip((ours, before), given, strict=True))
    assert ours.arch.in_ch == 1
    assert float((grey - rgb).abs().max()) < 1e-4  # measured 2026-11-27: sums in another order
    assert float(rgb.max() - rgb.min()) > 0.9


def test_a_channel_more_is_not_looked_at_in_the_beginning():
    ours, before = build(adapted(nano(), 1, 0, in_ch=4)), build(nano())
    x = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], before(x[:, :3])[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("profile", "seen"), [("paper", 3), ("grey", 1)])
def test_a_channel_is_never_lost_in_silence(profile, seen, tmp_path):
    rgba = adapted(nano(), 1, 0, in_ch=4)
    says = f"the weights see 4 channels, profile {profile} prepares {seen}; name one with --profile: rgba"
    with pytest.raises(OptionError, match=says):
        train(Request(tmp_path, tmp_path, start=rgba), Recipe(profile=profile), Setting(tmp_path / "out"))
    write_weights(rgba, tmp_path / "rgba.safetensors", profile="rgba")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = ("--finetune", tmp_path / "rgba.safetensors", "--profile", profile, "-o", tmp_path / "out")
    done = called("train", "--images", tmp_path, "--masks", tmp_path, *words)
    assert (done.returncode, done.stderr) == (2, f"error: {says}\n")


def test_weights_of_grey_answer_grey_pictures_in_colour_as_before():
    grey = adapted(nano(), 1, 0, in_ch=1)
    cameraman = photograph("camera.png", 128).convert("L")
    given = (torch.from_numpy(get_profile(name).tensor(cameraman, (128, 128))) for name in ("paper", "grey"))
    with torch.no_grad():
        ours, before = (build(w)(x)[0] for w, x in zip((adapted(grey, 1, 0, in_ch=3), grey), given, strict=True))
    assert float((ours - before).abs().max()) < 1e-4


@pytest.mark.parametrize("profile", CHANNELS)
def test_the_weights_name_their_profile_and_masks_follow_it(profile, trained, xray):
    assert read_checkpoint(trained[profile]).meta["profile"] == profile
    session = Session(trained[profile], runtime="torch")
    assert session.profile.name == profile
    x = session.preparation.input(xray)
    assert x.shape[1] == CHANNELS[profile]
    assert session.mask(xray).size == xray.size


@pytest.mark.parametrize("profile", CHANNELS)
@pytest.mark.parametrize("name", ["onnx", "mnn"])
def test_a_converted_file_names_its_profile_and_gives_the_weights_mask(
    profile, name, trained, xray, tmp_path, monkeypatch
):
    (artifact,) = convert(trained[profile], [name], tmp_path, options=Options(size=(320, 320)))
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "another machine"))
    assert artifact.options.io == "tensor"
    assert profile_in(artifact.path) == profile
    ours = np.asarray(Session(artifact.path).mask(xray), int)
    theirs = np.asarray(Session(trained[profile], runtime="torch").mask(xray), int)
    assert abs(ours - theirs).max() <= 1


@pytest.mark.full
@pytest.mark.parametrize("name", ["tflite", "coreml", "executorch"])
def test_so_do_the_files_of_phones(name, trained, xray, tmp_path, monkeypatch):
    (artifact,) = convert(trained["grey"], [name], tmp_path, options=Options(size=(320, 320)))
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "another machine"))
    assert profile_in(artifact.path) == "grey"
    ours = np.asarray(Session(artifact.path).mask(xray), int)
    theirs = np.asarray(Session(trained["grey"], runtime="torch").mask(xray), int)
    assert abs(ours - theirs).max() <= 1


@pytest.mark.full
def test_keras_trains_a_grey_network_to_torchs_first_loss(eight, tmp_path):
    losses = []
    for engine in ("torch", "keras"):
        start = hard_checkpoint(with_channels(SHALLOW, 1, 1))
        request = Request(eight / "images", eight / "masks", start=start, engine=engine)
        recipe = Recipe(size=SIDE, crop=SIDE, batch=4, steps=1, augment="none", profile="grey")
        losses.append(train(request, recipe, Setting(tmp_path / engine, accelerator="cpu")).loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_pictures_in_the_graph_and_a_teacher_that_sees_otherwise_are_refused(trained, eight, tmp_path):
    with pytest.raises(OptionError, match="the network takes 1 channel, not RGB"):
        convert(trained["grey"], ["onnx"], tmp_path, options=Options(size=(32, 32), io="image"))
    with pytest.raises(OptionError, match="profile grey prepares 1 channel, not RGB"):
        convert(
            hard_checkpoint(SHALLOW), ["onnx"], tmp_path, options=Options(size=(32, 32), io="image", profile="grey")
        )
    start = fresh(with_channels(SHALLOW, 1, 1), 0)
    request = Request(eight / "images", start=start, teacher=fresh(SHALLOW, 0))
    with pytest.raises(OptionError, match="takes 3 channels, shallow 1"):
        train(request, Recipe(steps=1, profile="grey"), Setting(tmp_path))


def test_an_isnet_has_its_other_channels_in_the_stem():
    from u2net_zoo.arch import ISNET

    grey = with_channels(ISNET, 1, 1)
    assert (grey.in_ch, grey.stem.in_ch) == (1, 1)
    assert grey.encoder == ISNET.encoder
    assert replace(grey, stem=ISNET.stem) == ISNET


@pytest.mark.parametrize("name", ["pth", "openvino"])
def test_a_file_without_a_place_for_words_has_to_be_told_its_profile(name, trained, xray, tmp_path):
    (artifact,) = convert(
        trained["grey"], [name], tmp_path, options=Options(size=(320, 320) if name != "pth" else None)
    )
    says = r"the model takes 1 channel\(s\), and the profile prepares 3; name another with --profile \(grey has 1"
    with pytest.raises(ArtifactError, match=says):
        Session(artifact.path).mask(xray)
    assert Session(artifact.path, profile="grey").mask(xray).size == xray.size
