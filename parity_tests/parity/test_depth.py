"""Photographs of more than 8 bits: the network gets what the authors' loader makes of the file's own values."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.transform import resize
from support.commands import called
from support.photographs import photograph

from u2net_zoo import Session, depth
from u2net_zoo.apps.portrait import Portrait
from u2net_zoo.errors import ImageError
from u2net_zoo.photographs import read_image, to_rgb
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.serve.decoding import decode
from u2net_zoo.serve.limits import Limits
from u2net_zoo.train.augment import Augment
from u2net_zoo.train.evaluate import compare
from u2net_zoo.train.pairs import Pair, read
from u2net_zoo.train.recipe import Recipe

SIZE = (96, 80)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def colours(top: int = 4095) -> np.ndarray:
    """uint16 (60, 90, 3) of up to `top`, with more than 8 bits of detail."""
    levels = np.asarray(photograph("coffee.png", 90), np.float64)[:60] / 255
    noise = np.random.default_rng(0).random(levels.shape) / 400
    return ((levels * 0.99 + noise) / (levels * 0.99 + noise).max() * top).astype(np.uint16)


def authors(array: np.ndarray) -> np.ndarray:
    """RescaleT and ToTensorLab(flag=0) of U-2-Net's data_loader.py, on what skimage.io.imread returned."""
    image = resize(array, SIZE, order=1, mode="constant", anti_aliasing=False)
    image = image / np.max(image)
    if image.ndim == 2:
        return np.stack([(image - MEAN[0]) / STD[0]] * 3).astype(np.float32)
    return ((image - MEAN) / STD).transpose(2, 0, 1).astype(np.float32)


def png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()


def tiff(array: np.ndarray, **how) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **how)
    return buffer.getvalue()


GREY, RGB = colours()[..., 0], colours()
OPAQUE = np.dstack([RGB[..., ::-1], np.full(GREY.shape, 65535, np.uint16)])
FILES = {
    "grey png, 12 bits": (GREY, png(GREY)),
    "grey tiff, big-endian": (GREY, tiff(GREY, byteorder=">")),
    "I, 0..243": ((GREY // 17).clip(0, 243).astype(np.int32), tiff((GREY // 17).clip(0, 243).astype(np.int32))),
    "I, 16 bits": (GREY.astype(np.int32) * 16, tiff(GREY.astype(np.int32) * 16)),
    "F, 0..1": ((GREY / 4095).astype(np.float32), tiff((GREY / 4095).astype(np.float32))),
    "F, 0..243": ((GREY / 17).astype(np.float32), tiff((GREY / 17).astype(np.float32))),
    "rgb tiff": (RGB, tiff(RGB, photometric="rgb")),
    "rgb tiff, big-endian, deflate": (RGB, tiff(RGB, photometric="rgb", byteorder=">", compression="zlib")),
    "rgb tiff, LZW": (RGB, cv2.imencode(".tiff", RGB[..., ::-1])[1].tobytes()),
    "rgb png": (RGB, png(RGB[..., ::-1])),
    "rgb png, 16 bits": (colours(65535), png(colours(65535)[..., ::-1])),
    "rgba png": (RGB, png(OPAQUE)),
}
PROFILES_OF_255 = [name for name, profile in PROFILES.items() if not profile.by_maximum]


@pytest.mark.parametrize("name", FILES)
def test_the_tensor_is_the_authors(name):
    """The same float32 for whole numbers; they compute "F" in float32 throughout."""
    array, data = FILES[name]
    found = PROFILES["paper"].tensor(read_image(io.BytesIO(data)), SIZE)[0]
    np.testing.assert_allclose(found, authors(array), rtol=0, atol=2e-6 if name[0] in "IF" else 0)


@pytest.mark.parametrize("name", ["grey png, 12 bits", "rgb png", "rgb tiff", "F, 0..243"])
def test_every_entrance_keeps_the_depth(name, tmp_path, small_file):
    array, data = FILES[name]
    path = tmp_path / f"a.{'png' if 'png' in name else 'tiff'}"
    path.write_bytes(data)
    right = authors(array)
    session = Session(small_file)
    for image in (read_image(path), decode(io.BytesIO(data), Limits()), Portrait().before(read_image(path))):
        np.testing.assert_allclose(PROFILES["paper"].tensor(image, SIZE)[0], right, rtol=0, atol=2e-6)
    done = called("mask", path, "-o", tmp_path / "mask.png", "--model", small_file)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(Image.open(tmp_path / "mask.png"), session.mask(read_image(path)))


@pytest.mark.parametrize("name", PROFILES_OF_255)
@pytest.mark.parametrize("kind", ["I;16", "I", "F", "RGB"])
def test_profiles_of_255_take_the_full_range(name, kind):
    """A picture of 8 bits in a deeper one is the same picture, but for rounding to 8 bits.

    Pillow rounds and clips after each of its two passes: bicubic's overshoot at an edge is lost in between, which was
    2.0 levels in one value of 23,040 (2026-11-26).
    """
    shallow = photograph("coffee.png", 90) if kind == "RGB" else photograph("coffee.png", 90).convert("L")
    levels = np.asarray(shallow)
    if kind == "RGB":
        deep = read_image(io.BytesIO(png((levels.astype(np.uint16) * 257)[..., ::-1])))
    else:
        deep = Image.fromarray(
            {"I;16": levels.astype(np.uint16) * 257, "I": levels.astype(np.int32)}.get(kind, levels / np.float32(255))
        )
    assert deep.mode == kind
    profile = replace(PROFILES[name], mean=(0, 0, 0), std=(1, 1, 1))
    apart = 255 * np.abs(profile.tensor(deep, SIZE) - profile.tensor(shallow, SIZE))
    assert apart.max() <= 2.1
    assert np.quantile(apart, 0.999) <= 1.5
    assert apart.mean() <= 0.5


def test_isnet_of_16_bits_is_linear_of_its_own_values():
    array, data = FILES["rgb png"]
    right = resize(array / 65535, SIZE, order=1, mode="edge", anti_aliasing=False) - 0.5
    found = PROFILES["isnet"].tensor(read_image(io.BytesIO(data)), SIZE)[0]
    np.testing.assert_allclose(found, right.transpose(2, 0, 1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["grey png, 12 bits", "rgb tiff"])
def test_a_model_of_pixels_gets_all_of_its_256_levels(name):
    array, data = FILES[name]
    pixels = PROFILES["paper"].pixels(read_image(io.BytesIO(data)), SIZE)
    assert pixels.max() == 255
    found = pixels.transpose(2, 0, 1) / 255
    grey = authors(array) * (STD[0] if array.ndim == 2 else STD[:, None, None])
    right = grey + (MEAN[0] if array.ndim == 2 else MEAN[:, None, None])
    np.testing.assert_allclose(found, right, rtol=0, atol=0.501 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_values_are_turned_as_the_picture_is(orientation):
    data = tiff(colours(65535), photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    image = read_image(io.BytesIO(data))
    values, full = depth.values_of(image)
    assert full == 65535
    np.testing.assert_array_equal(values >> 8, np.asarray(image))  # Pillow keeps the upper byte


def test_what_pillow_changes_has_8_bits():
    image = read_image(io.BytesIO(FILES["rgb png"][1]))
    assert depth.values_of(image.resize((30, 20))) is depth.values_of(image.copy()) is None
    image.thumbnail((30, 30))
    assert depth.values_of(image) is None


def test_without_opencv_it_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ImageError, match="16 bits in each channel need the package 'opencv-python-headless': pip"):
        read_image(io.BytesIO(FILES["rgb png"][1]))
    read_image(io.BytesIO(FILES["rgb tiff"][1]))


def test_values_that_are_no_numbers_are_refused(small_file):
    with pytest.raises(ImageError, match="values that are no numbers"):
        Session(small_file).mask(Image.fromarray(np.full((9, 9), np.nan, np.float32)))


def test_small_numbers_in_wide_pictures_are_seen():
    picture = Image.fromarray(np.asarray(photograph("coffee.png", 90).convert("L"), np.int32))
    np.testing.assert_array_equal(to_rgb(picture), photograph("coffee.png", 90).convert("L").convert("RGB"))


@pytest.mark.parametrize("name", ["grey png, 12 bits", "rgb png"])
def test_training_reads_the_same(name, tmp_path):
    """And a mask of 12 bits is divided by its maximum, in training and in `eval`."""
    array, data = FILES[name]
    (tmp_path / "a.png").write_bytes(data)
    mask = np.where(GREY > 1500, 4095, 0).astype(np.uint16)
    (tmp_path / "mask.png").write_bytes(png(mask))
    image, truth = read(Pair(tmp_path / "a.png", tmp_path / "mask.png"))
    np.testing.assert_array_equal(truth, mask / np.float32(4095))
    tensor, _ = Augment(Recipe(size=96, crop=96), training=False)(image, truth, 0, 0)
    wanted = PROFILES["paper"].tensor(
        Image.fromarray(array) if array.ndim == 2 else read_image(tmp_path / "a.png"), (96, 96)
    )
    if array.ndim == 3:  # training feeds grey photographs by each channel's statistics
        np.testing.assert_array_equal(tensor, wanted[0])
    Image.fromarray((mask > 0).astype(np.uint8) * 255).save(tmp_path / "found.png")
    report = compare({"a": tmp_path / "found.png"}, {"a": tmp_path / "mask.png"})
    assert not report.flagged
    assert report.to_dict()["mae"] == 0
