"""What results keep of a photograph: its pixels' kind, its colour profile, its metadata."""

import functools
import io

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from support.applications import Photograph
from support.photographs import photograph

from u2net_zoo import Session
from u2net_zoo.apps.batch.jobs import Job
from u2net_zoo.apps.batch.work import run_one
from u2net_zoo.apps.saving import save

SHADES = np.linspace(0, 65535, 48 * 40).reshape(40, 48).astype(np.uint16)
PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" xmp:Rating="5">'
    "<xmp:Thumbnails><rdf:Alt>what was cut away</rdf:Alt></xmp:Thumbnails><dc:creator>Zoë</dc:creator>"
    "</rdf:Description></x:xmpmeta>"
)


def woman() -> Image.Image:
    return photograph("astronaut.png").resize((160, 107))


@pytest.fixture(scope="module")
def session(small_file):
    return Session(small_file)


@functools.cache  # a profile holds the second in which it was made
def profile_for(space: bytes) -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = space
    return bytes(profile)


def test_sixteen_bits_of_grey_do_not_go_white_as_webp():
    buffer = io.BytesIO()
    save(Image.fromarray(SHADES), buffer, ".webp")
    np.testing.assert_array_equal(np.asarray(Image.open(buffer))[..., 0], np.rint(SHADES / 257).astype(np.uint8))


def test_a_photograph_in_ink_stays_one_as_jpeg():
    ink, buffer = woman().convert("CMYK"), io.BytesIO()
    save(ink, buffer, ".jpg", {"icc_profile": profile_for(b"CMYK")})
    found = Image.open(buffer)
    assert (found.mode, found.info["icc_profile"]) == ("CMYK", profile_for(b"CMYK"))
    assert np.abs(np.asarray(found, int) - np.asarray(ink, int)).mean() < 3


@pytest.mark.parametrize(
    ("picture", "suffix", "space"),
    [
        (Image.fromarray(SHADES), ".png", b"GRAY"),
        (Image.fromarray(SHADES), ".tif", b"GRAY"),
        (Image.new("1", (9, 9)), ".png", b"GRAY"),
        (Image.new("CMYK", (9, 9)), ".tiff", b"CMYK"),
    ],
    ids=["16 bits", "16 bits in TIFF", "black and white", "ink"],
)
def test_a_profile_stays_with_pictures_of_its_colours(picture, suffix, space):
    buffer = io.BytesIO()
    save(picture, buffer, suffix, {"icc_profile": profile_for(space)})
    found = Image.open(buffer)
    assert (found.mode, found.info["icc_profile"]) == (picture.mode, profile_for(space))


def test_grey_that_webp_makes_colours_of_loses_the_profile_for_grey():
    buffer = io.BytesIO()
    save(Image.new("L", (9, 9)), buffer, ".webp", {"icc_profile": profile_for(b"GRAY")})
    assert "icc_profile" not in Image.open(buffer).info


@pytest.mark.parametrize("target", [".png", ".webp", ".tiff", ".jpg"])
@pytest.mark.parametrize("source", [".png", ".webp", ".tiff", ".jpg"])
def test_xmp_stays_without_orientation_and_thumbnail(source, target, session, tmp_path):
    packet = PACKET.encode()
    how: dict = {"xmp": packet}
    if source == ".png":
        how = {"pnginfo": PngImagePlugin.PngInfo()}
        how["pnginfo"].add_itxt("XML:com.adobe.xmp", PACKET)
    if source == ".tiff":
        how = {"tiffinfo": {700: packet}}
    woman().save(tmp_path / f"a{source}", **how)
    run_one(session, Photograph(), Job(str(tmp_path / f"a{source}"), str(tmp_path / f"b{target}"), "a", named=True))
    with Image.open(tmp_path / f"b{target}") as picture, Image.open(tmp_path / f"b_mask{target}") as mask:
        found = bytes(picture.info["xmp"]).decode()
        assert "xmp" not in mask.info
    assert 'xmp:Rating="5"' in found
    assert "Zoë" in found
    assert "Orientation" not in found
    assert "cut away" not in found


def test_metadata_that_is_too_long_for_jpeg_is_left_out():
    buffer = io.BytesIO()
    save(woman(), buffer, ".jpg", {"xmp": b"x" * 70_000, "exif": b"Exif\0\0" + bytes(70_000)})
    assert not {"xmp", "exif"} & set(Image.open(buffer).info)
