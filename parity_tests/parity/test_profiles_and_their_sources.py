"""What is peculiar to a profile, written out once more as its source has it, with OpenCV, Pillow and scikit-image.

What all profiles share, and the formulas of `paper`, `rembg` and `isnet`, stand in `test_profiles`.
"""

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.transform import resize
from support import photographs

from u2net_zoo.preprocessing import PROFILES

MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


def photograph(height: int, width: int) -> np.ndarray:
    return np.asarray(photographs.photograph("chelsea.png").resize((width, height)))


def dark() -> np.ndarray:
    """No pixel is brighter than 63."""
    return photograph(90, 130) // 4


def fed(name: str, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3), what the network is fed."""
    return PROFILES[name].tensor(Image.fromarray(pixels), size)[0].transpose(1, 2, 0)


@pytest.mark.parametrize("name", ["paper", "portrait", "portrait-demo"])
def test_a_dark_photograph_is_divided_by_its_maximum(name: str):
    resized = resize(dark(), (64, 96), order=1, mode="constant", anti_aliasing=False)
    assert resized.max() < 0.25
    mean, std = (MEAN[::-1], STD[::-1]) if name == "portrait-demo" else (MEAN, STD)
    np.testing.assert_allclose(fed(name, dark(), (64, 96)), (resized / resized.max() - mean) / std, atol=1e-5)


def test_the_demo_of_portraits_gives_red_the_statistics_of_blue():
    """Its lines, on OpenCV's order of blue, green, red: `tmpImg[:, :, 0] = (image[:, :, 2] - 0.406) / 0.225` …"""
    resized = resize(photograph(90, 130), (64, 96), order=1, mode="constant", anti_aliasing=False)
    bgr = resized[..., ::-1] / resized.max()
    channels = [(bgr[..., 2] - 0.406) / 0.225, (bgr[..., 1] - 0.456) / 0.224, (bgr[..., 0] - 0.485) / 0.229]
    np.testing.assert_allclose(fed("portrait-demo", photograph(90, 130), (64, 96)), np.dstack(channels), atol=1e-5)


@pytest.mark.parametrize("name", ["portrait", "portrait-demo"])
def test_portraits_are_drawn_in_black_on_white(name: str):
    """`pred = 1.0 - d1[:, 0, :, :]`, then min-max."""
    d0 = np.linspace(0.2, 0.8, 64, dtype=np.float32).reshape(8, 8)
    expected = ((0.8 - d0) / 0.6 * 255).astype(int)
    assert np.abs(np.asarray(PROFILES[name].mask(d0, (8, 8)), int) - expected).max() <= 1


def test_a_dark_photograph_of_clothes_stays_dark():
    """`ToTensor`, then `(x - 0.5) / 0.5`, whatever the photograph holds."""
    resized = np.asarray(Image.fromarray(dark()).resize((96, 64), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(fed("cloth", dark(), (64, 96)), (resized / 255 - 0.5) / 0.5, atol=1e-6)
    assert fed("cloth", dark(), (64, 96)).max() < -0.4


@pytest.mark.parametrize(("size", "halvings"), [((1700, 1600), 2), ((780, 900), 1), ((768, 900), 0)], ids=str)
def test_a_large_sky_is_halved_until_a_side_is_small(size, halvings: int):
    """`while (w > 768 && h > 768) pyrDown`, then `resize`; noise, of which a resize alone makes something else."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    halved = pixels
    for _ in range(halvings):
        halved = cv2.pyrDown(halved, dstsize=(halved.shape[1] // 2, halved.shape[0] // 2))
    expected = (cv2.resize(halved, (96, 64)) / 255 - MEAN) / STD
    # One grey level: OpenCV's resize of 8 bits rounds twice.
    assert np.abs(fed("sky", pixels, (64, 96)) - expected).max() <= 1.01 / 255 / STD.min()


@pytest.mark.parametrize("size", [(90, 130), (130, 90)], ids=str)
def test_a_drawn_picture_stands_in_the_middle_and_its_mask_is_cut_out_there(size):
    """`img_input[ph // 2: ph // 2 + h, pw // 2: pw // 2 + w] = cv2.resize(img, (w, h)) / 255`, and the way back."""
    (h0, w0), s, pixels = size, 128, photograph(*size)
    h, w = (s, int(s * w0 / h0)) if h0 > w0 else (int(s * h0 / w0), s)
    inside = np.s_[(s - h) // 2 : (s - h) // 2 + h, (s - w) // 2 : (s - w) // 2 + w]
    canvas = np.zeros((s, s, 3))
    canvas[inside] = cv2.resize(pixels, (w, h)) / 255
    assert np.abs(fed("isnet-anime", pixels, (s, s)) - canvas).max() <= 1.01 / 255
    d0 = np.random.default_rng(0).random((s, s), np.float32)
    expected = cv2.resize(d0[inside], (w0, h0)) * 255
    assert np.abs(np.asarray(PROFILES["isnet-anime"].mask(d0, (w0, h0))) - expected).max() <= 1.01
