"""Photographs of any mode, depth and orientation, empty masks and black pictures: a mask comes out."""

import json

import numpy as np
import pytest
from PIL import Image
from support import photographs
from support.agreement import mask_agreement
from support.commands import called
from support.data import NANO

from u2net_zoo import Session
from u2net_zoo.apps.batch.journal import ROOM
from u2net_zoo.preprocessing import PROFILES, minmax, read_image

MODES = ("L", "I;16", "P", "CMYK", "RGBA", "LA", "1", "F")


def photograph(mode: str) -> Image.Image:
    image = photographs.photograph("coffee.png", 160)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    if mode == "P":
        return image.quantize(256)
    return image.convert("L").convert(mode) if mode in ("F", "LA", "1") else image.convert(mode)


@pytest.fixture(scope="module")
def session():
    return Session(NANO)


@pytest.mark.parametrize("mode", MODES)
def test_photographs_of_any_mode(session, mode: str, tmp_path):
    image = photograph(mode)
    suffix = {"CMYK": "jpg", "F": "tiff"}.get(mode, "png")
    image.save(tmp_path / f"a.{suffix}")
    mask = session.mask(read_image(tmp_path / f"a.{suffix}"))
    assert mask.mode == "L"
    assert mask.size == image.size
    grey = mode in ("L", "I;16", "LA", "1", "F")
    iou, _ = mask_agreement([(mask, session.mask(photograph("L" if grey else "RGB")))])
    assert iou > 0.9 or mode == "1"  # one bit of dots is another picture


def test_sixteen_bits_are_as_good_as_eight(session):
    np.testing.assert_array_equal(session.mask(photograph("I;16")), session.mask(photograph("L")))


def test_exif_orientation_is_respected(session, tmp_path):
    image = photograph("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn anticlockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright = session.mask(read_image(tmp_path / "turned.png"))
    assert upright.size == image.size
    np.testing.assert_array_equal(upright, session.mask(image))


def test_an_empty_mask_stays_empty():
    flat = np.full((4, 4), 0.3, np.float32)
    assert not minmax(flat).any()
    assert not np.asarray(PROFILES["paper"].mask(flat, (9, 9))).any()
    rounding = flat + np.float32(1e-6) * np.eye(4, dtype=np.float32)  # far less than a grey level
    assert minmax(rounding).max() < 1e-3
    assert not np.asarray(PROFILES["paper"].mask(rounding, (9, 9))).any()


def test_a_black_photograph_is_no_division_by_zero(session):
    assert np.isfinite(session.predict(Image.new("RGB", (50, 40)))).all()


def test_one_broken_photograph_does_not_stop_the_folder(tmp_path):
    for name in ("a.png", "b.png", "b.jpg"):
        photograph("RGB").save(tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8 not a photograph")
    (tmp_path / "notes.txt").write_text("none")
    done = called("mask", tmp_path, "-o", tmp_path / "out", "--model", NANO, "--json")
    assert done.returncode == 2
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.png", "b.png.png", "b.jpg.png", ROOM}
    assert [row["image"] for row in json.loads(done.stdout)["failed"]] == [str(tmp_path / "c.jpg")]
