"""Backgrounds: colours, pictures, blur; and what is none."""

import numpy as np
import pytest
from PIL import Image

from u2net_zoo.apps import APPLICATIONS, replace
from u2net_zoo.errors import ImageError, OptionError


def test_behind_the_object_is_the_colour_that_was_asked_for(cat, mask):
    pixels = np.asarray(replace(cat, mask, "#20c0a0"))
    nothing = np.asarray(mask) == 0
    assert (pixels[nothing] == (0x20, 0xC0, 0xA0)).all()


def test_a_background_picture_covers_everything_and_keeps_its_proportions(cat, tmp_path):
    tall = Image.new("RGB", (60, 600), "red")
    tall.paste("blue", (0, 280, 60, 320))
    tall.save(tmp_path / "tall.png")
    pixels = np.asarray(replace(cat, Image.new("L", cat.size), str(tmp_path / "tall.png")))
    blue = pixels[..., 2] > 128
    assert (pixels.max(axis=-1) > 100).all()
    assert blue.mean(axis=0).min() > 0.9 * 40 / 60 * cat.width / cat.height  # the middle band, enlarged with the width


def test_a_blurred_background_holds_nothing_of_the_object():
    image, mask = Image.new("RGB", (200, 200), "blue"), Image.new("L", (200, 200))
    image.paste("red", (60, 60, 140, 140))
    mask.paste(255, (60, 60, 140, 140))
    pixels = np.asarray(replace(image, mask, "blur:10"))
    assert pixels[np.asarray(mask) == 0][:, 0].max() <= 2
    assert (pixels[np.asarray(mask) == 255] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    "text", ["blur:", "blur:-1", "blur:nan", "blur:1e9", "no-such-colour", "#12", "missing.png", "", "a" * 5000]
)
def test_a_background_that_is_none_is_refused_by_name(text):
    with pytest.raises(OptionError, match="background"):
        APPLICATIONS["replace"](background=text)


@pytest.mark.parametrize("text", ["#ff000080", "#f008", "rgba(255, 0, 0, 128)"])
def test_a_background_with_transparency_is_refused(text):
    with pytest.raises(OptionError, match="results are opaque; name the colour without transparency, #ff0000"):
        APPLICATIONS["replace"](background=text)
    assert APPLICATIONS["replace"](background="#ff0000ff")


def test_a_background_file_that_is_no_picture_is_refused_before_any_photograph(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.png"):
        APPLICATIONS["replace"](background=str(tmp_path / "broken.png"))
