"""Real photographs with masks of theirs, for the tests of the applications."""

from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from u2net_zoo import Session

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"


def photograph(name: str, width: int | None = None) -> Image.Image:
    picture = Image.open(PHOTOGRAPHS / name).convert("RGB")
    return picture.resize((width, round(picture.height * width / picture.width))) if width else picture


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return photograph("chelsea.png", 225)


@pytest.fixture(scope="module")
def mask(cat) -> Image.Image:
    return Session("u2net_nano").mask(cat)


@pytest.fixture(scope="module")
def mixed() -> tuple[np.ndarray, Image.Image, Image.Image]:
    """An object with a known soft edge over another photograph: its own colours, the photograph, alpha."""
    front, back = (photograph(name).resize((512, 512)) for name in ("astronaut.png", "coffee.png"))
    rows, columns = np.mgrid[:512, :512]
    wavy = 165 + 12 * np.sin(np.arctan2(rows - 256, columns - 256) * 9)
    alpha = Image.fromarray((np.clip((wavy - np.hypot(rows - 256, columns - 256)) / 14 + 0.5, 0, 1) * 255).astype("u1"))
    return np.asarray(front, float), Image.composite(front, back, alpha), alpha


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
    if mode in ("RGBA", "LA"):
        shade = Image.linear_gradient("L").resize(picture.size)
        picture = picture.copy()
        picture.putalpha(shade)
    return picture.convert(mode)
