"""Portraits: faces are found and cropped as the authors' demo does; drawings over photographs as theirs."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from support.data import DATA, needs
from support.photographs import photograph

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
ASTRONAUT = (177, 66, 95, 95)  # as it finds the one of scikit-image (4.11, 2026-11-26)
REACH = 8  # pixels of the 256 that drawings are compared at


def strokes(grey: np.ndarray) -> np.ndarray:
    """How strong the edges of a photograph are, at 256 by 256."""
    grey = cv2.GaussianBlur(cv2.resize(grey, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), 1)
    return np.log1p(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))


def best_shift(seen: np.ndarray, drawing: np.ndarray) -> tuple[int, int]:
    """By how many of 256 pixels the drawing has to move for its lines to lie on the photograph's edges."""
    inside = (slice(REACH, -REACH),) * 2
    edges = strokes(seen)
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
    portrayed = read_image(needs(DATA / "portrait" / "your_images" / f"{name}.jpg"))
    face = find_face(portrayed)
    assert face == FACES[name]
    crop = face_crop(portrayed, face)
    drawing = Image.open(DATA / "portrait" / "your_results" / f"{name}.png")
    assert crop.size == drawing.size == (512, 512)
    assert max(map(abs, best_shift(np.asarray(crop.convert("L")), np.asarray(drawing)))) <= 4


def test_the_face_of_a_photograph_is_found_at_any_size_and_cropped_as_the_demo_does():
    woman = photograph("astronaut.png")
    assert find_face(woman) == ASTRONAUT
    assert find_face(woman.convert("CMYK")) == ASTRONAUT  # whatever the mode
    assert find_face(woman.resize((256, 256))) == (86, 31, 53, 53)
    assert np.array_equal(np.asarray(face_crop(woman, ASTRONAUT)), demo_crop(np.asarray(woman), ASTRONAUT))
    assert np.array_equal(np.asarray(Portrait().before(woman)), demo_crop(np.asarray(woman), ASTRONAUT))


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
    woman = photograph("astronaut.png")
    assert np.array_equal(np.asarray(face_crop(woman, face)), demo_crop(np.asarray(woman), face))


def test_a_drawing_of_a_found_face_has_512_pixels_and_says_where_it_was():
    application = Portrait()
    seen = application.before(photograph("astronaut.png"))
    drawing = Session("u2net_nano", profile="portrait").mask(seen)
    result = application.after(seen, drawing)
    assert drawing.size == (512, 512)
    assert result.pictures == {"": drawing}
    assert result.facts == {"face": list(ASTRONAUT)}


def test_without_a_face_the_whole_picture_is_drawn_with_a_warning():
    image, drawing = photograph("chelsea.png"), photograph("coffee.png").convert("L").resize((451, 300))
    application = Portrait()
    seen = application.before(image)
    assert seen.tobytes() == image.tobytes()
    assert "face" not in image.info
    result = application.after(seen, drawing)
    assert result.pictures == {"": drawing}
    assert "no face" in result.facts["warning"]
    json.dumps(result.facts)


def test_ready_faces_are_drawn_as_they_are():
    face, drawing = photograph("astronaut.png"), photograph("rocket.jpg").convert("L").resize((512, 512))
    assert Portrait(ready=True).before(face) is face
    assert Portrait(ready=True).after(face, drawing).pictures == {"": drawing}


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


def pencilled(image: Image.Image) -> Image.Image:
    """Lines where the photograph has edges, dark on white, 512 by 512."""
    lines = strokes(np.asarray(image.convert("L")))
    return Image.fromarray((255 - lines / lines.max() * 255).astype(np.uint8)).resize((512, 512))


@pytest.mark.parametrize(("size", "sigma", "alpha"), [((512, 512), 2.0, 0.5), ((600, 450), 20.0, 0.25)])
def test_a_composite_follows_the_authors_formula(size, sigma, alpha):
    image, drawing = photograph("astronaut.png").resize(size), pencilled(photograph("astronaut.png"))
    result = np.asarray(composite(image, drawing, sigma=sigma, alpha=alpha), int)
    differs = np.abs(result - by_their_formula(image, drawing, sigma, alpha))
    assert differs.max() <= 1  # float32 against float64
    assert (differs > 0).mean() < 1e-4  # measured 1.1e-5 at most on 2026-11-26


def test_composites_are_named_as_theirs():
    assert Composite(sigma=20, alpha=0.5).suffix() == "_sigma_20.0_alpha_0.5_composite"


def test_a_composite_of_flat_pictures_is_flat():
    result = composite(Image.new("RGB", (20, 20), (90, 90, 90)), Image.new("L", (20, 20)), alpha=1.0)
    assert result.getcolors() == [(400, (90, 90, 90))]
