"""Portraits: faces are found and cropped as the authors' demo does; drawings over photographs as theirs."""

import json

import cv2
import numpy as np
import pytest
from conftest import DATA, needs
from PIL import Image

from u2net_zoo import Session
from u2net_zoo.apps import composite, face_crop, find_face
from u2net_zoo.apps.composite import Composite
from u2net_zoo.apps.portrait import Portrait
from u2net_zoo.preprocessing import read_image

# Faces as OpenCV's cascade finds them in the published photographs (4.11, 2026-11-21).
FACES = {
    "GalGadot": (151, 82, 262, 262),
    "kid2": (125, 201, 243, 243),
    "man2": (91, 183, 349, 349),
    "smile": (183, 75, 247, 247),
}
REACH = 8  # pixels of the 256 that drawings are compared at


def strokes(grey: np.ndarray) -> np.ndarray:
    """How strong the edges of a photograph are, at 256 by 256."""
    grey = cv2.GaussianBlur(cv2.resize(grey, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), 1)
    return np.log1p(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))


def best_shift(photograph: np.ndarray, drawing: np.ndarray) -> tuple[int, int]:
    """By how many of 256 pixels the drawing has to move for its lines to lie on the photograph's edges."""
    inside = (slice(REACH, -REACH),) * 2
    edges = strokes(photograph)
    lines = 255 - cv2.resize(drawing, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32)
    reach = range(-REACH, REACH + 1)
    fits = {
        (down, right): np.corrcoef(edges[inside].ravel(), np.roll(lines, (down, right), (0, 1))[inside].ravel())[0, 1]
        for down in reach
        for right in reach
    }
    return max(fits, key=fits.__getitem__)


@pytest.mark.parametrize("name", FACES)
def test_the_crop_is_that_of_the_published_drawing(name):
    """The weights are not here, so what is compared is where the lines are: measured within 4 of 256 pixels."""
    photograph = read_image(needs(DATA / "portrait" / "your_images" / f"{name}.jpg"))
    face = find_face(photograph)
    assert face == FACES[name]
    crop = face_crop(photograph, face)
    drawing = Image.open(DATA / "portrait" / "your_results" / f"{name}.png")
    assert crop.size == drawing.size == (512, 512)
    assert max(map(abs, best_shift(np.asarray(crop.convert("L")), np.asarray(drawing)))) <= 4


def demo_crop(pixels: np.ndarray, face: tuple[int, int, int, int]) -> np.ndarray:
    """The demo's crop by another road: the photograph on an endless white sheet, then the window out of it."""
    x, y, w, h = face
    sheet = np.pad(pixels, ((2 * h, 2 * h), (2 * w, 2 * w), (0, 0)), constant_values=255)
    left, top, right, bottom = x - int(0.4 * w), y - int(0.6 * h), x + w + int(0.4 * w), y + h + int(0.2 * h)
    window = sheet[top + 2 * h : bottom + 2 * h, left + 2 * w : right + 2 * w]
    height, width = window.shape[:2]
    if height - 2 > width:
        window = np.pad(window, ((0, 0), ((height - width) // 2,) * 2, (0, 0)), constant_values=255)
    elif width - 2 > height:
        window = np.pad(window, (((width - height) // 2,) * 2, (0, 0), (0, 0)), constant_values=255)
    return cv2.resize(window, (512, 512), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    "face", [(100, 120, 200, 200), (0, 0, 150, 150), (370, 380, 140, 131), (200, 100, 90, 160), (50, 200, 161, 90)]
)
def test_a_face_at_any_border_is_padded_white_to_a_square(face):
    photograph = Image.open(needs(DATA / "portrait" / "images" / "img_1585.png"))
    assert np.array_equal(np.asarray(face_crop(photograph, face)), demo_crop(np.asarray(photograph), face))


def test_a_drawing_of_a_found_face_has_512_pixels_and_says_where_it_was():
    photograph = read_image(needs(DATA / "portrait" / "your_images" / "smile.jpg"))
    application = Portrait()
    seen = application.before(photograph)
    result = application.after(seen, Session("u2net_nano", profile="portrait").mask(seen))
    assert result.pictures[""].size == (512, 512)
    assert result.facts == {"face": list(FACES["smile"])}


def test_without_a_face_the_whole_picture_is_drawn_with_a_warning():
    mask = Image.open(needs(DATA / "sod" / "u2netp" / "horse.png")).convert("L")
    photograph = read_image(DATA / "sod" / "images" / "horse.jpg")
    application = Portrait()
    seen = application.before(photograph)
    assert seen.tobytes() == photograph.tobytes()
    assert "face" not in photograph.info
    result = application.after(seen, mask)
    assert result.pictures[""].size == photograph.size
    assert "no face" in result.facts["warning"]
    json.dumps(result.facts)


def test_ready_faces_are_drawn_as_they_are():
    photograph = Image.open(needs(DATA / "portrait" / "images" / "img_1585.png"))
    drawing = Image.open(DATA / "portrait" / "sketches" / "img_1585.png").convert("L")
    assert Portrait(ready=True).before(photograph) is photograph
    assert Portrait(ready=True).after(photograph, drawing).pictures[""] == drawing


def by_their_formula(image: Image.Image, drawing: Image.Image, sigma: float, alpha: float) -> np.ndarray:
    """The authors' lines in today's scikit-image, written by imageio's rule for pictures of floats."""
    from imageio.core import image_as_uint
    from skimage import filters, transform

    blurred = filters.gaussian(np.asarray(image), sigma=sigma, preserve_range=True, channel_axis=-1)
    lines = transform.resize(
        np.asarray(drawing) / 255, blurred.shape[:2], order=2, mode="constant", anti_aliasing=False
    )
    lines = lines / (lines.max() + 1e-8) * 255
    return image_as_uint(blurred * alpha + lines[..., None] * (1 - alpha), 8).astype(int)


@pytest.mark.parametrize(("size", "sigma", "alpha"), [((512, 512), 2.0, 0.5), ((600, 450), 20.0, 0.25)])
def test_a_composite_follows_the_authors_formula(size, sigma, alpha):
    image = Image.open(needs(DATA / "portrait" / "images" / "img_1585.png")).resize(size)
    drawing = Image.open(DATA / "portrait" / "sketches" / "img_1585.png").convert("L")
    result = np.asarray(composite(image, drawing, sigma=sigma, alpha=alpha), int)
    differs = np.abs(result - by_their_formula(image, drawing, sigma, alpha))
    assert differs.max() <= 1  # float32 against float64
    assert (differs > 0).mean() < 1e-4  # measured 1.3e-5 at most on 2026-11-21


def test_composites_are_named_as_theirs():
    assert Composite(sigma=20, alpha=0.5).suffix() == "_sigma_20.0_alpha_0.5_composite"


def test_a_composite_of_flat_pictures_is_flat():
    result = composite(Image.new("RGB", (20, 20), (90, 90, 90)), Image.new("L", (20, 20)), alpha=1.0)
    assert result.getcolors() == [(400, (90, 90, 90))]
