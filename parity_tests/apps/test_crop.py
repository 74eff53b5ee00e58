"""Windows around objects: squares, where they have room, and what fills them up where they have none."""

import numpy as np
import pytest
from PIL import Image, ImageColor
from support.photographs import in_mode

from u2net_zoo.apps import crop
from u2net_zoo.apps.crop import Crop, crop_box
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import to_rgb

MODES = ("RGB", "RGBA", "LA", "L", "I;16", "P", "CMYK", "1", "F")
GREY = (ImageColor.getcolor("#20c0a0", "L"),) * 3


@pytest.mark.parametrize("at", [(0, 0), (60, 20), (170, 40)])
def test_a_square_crop_is_square_and_inside(at):
    mask = Image.new("L", (200, 100))
    mask.paste(255, (*at, at[0] + 30, at[1] + 60))
    x0, y0, x1, y1 = crop_box(mask, margin=0.1, square=True)
    assert (x1 - x0, y1 - y0) == (72, 72)
    assert min(x0, y0) >= 0
    assert x1 <= 200
    assert y1 <= 100
    assert x0 <= at[0]
    assert x1 >= at[0] + 30


def test_crop_gives_what_its_command_does(cat):
    mask = Image.new("L", cat.size)
    mask.paste(255, (60, 40, 100, 70))
    picture = Crop(margin=0.1, square=True).after(cat, mask).pictures[""]
    assert picture.size == (48, 48)
    assert crop(cat, mask, margin=0.1, square=True) == picture
    assert crop(cat, Image.new("L", cat.size)) == cat


@pytest.mark.parametrize("mode", MODES)
def test_a_square_that_has_no_room_is_filled_up(mode, cat, mask):
    """The picture lies in the middle, as it was, in its colours and on the colour that was named."""
    image = in_mode(cat, mode)
    result = Crop(margin=3, square=True, pad="#20c0a0").after(image, mask)
    picture, side = result.pictures[""], max(cat.size)
    assert picture.size == result.pictures["_mask"].size == (side, side)
    assert picture.convert("RGB").getpixel((0, 0)) == (GREY if picture.mode == "L" else (0x20, 0xC0, 0xA0))
    top = (side - cat.height) // 2
    middle = picture.crop((0, top, cat.width, top + cat.height))
    assert np.array_equal(np.asarray(middle.convert("RGB")), np.asarray(to_rgb(image)))
    assert "warning" not in result.facts
    assert crop(image, mask, margin=3, square=True, pad="#20c0a0") == picture


def test_where_a_square_has_no_room_it_is_said(cat, mask):
    result = Crop(margin=3, square=True, masks=False).after(cat, mask)
    assert list(result.pictures) == [""]
    assert result.facts["warning"] == "no room for a square: --pad white fills what is missing"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pad": "white"}, "--pad white: goes with --square"),
        ({"pad": "whit", "square": True}, "--pad 'whit': allowed is"),
    ],
)
def test_a_padding_that_cannot_be_done_is_refused(options, says):
    with pytest.raises(OptionError, match=says):
        Crop(**options)


def test_a_crop_of_nothing_is_the_whole_picture_with_a_warning(cat):
    result = Crop().after(cat, Image.new("L", cat.size))
    assert result.pictures[""] == cat
    assert "no object" in result.facts["warning"]
