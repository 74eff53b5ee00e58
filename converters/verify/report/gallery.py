"""The pictures of a report, small enough for a page: photographs, masks, differences."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from u2net_zoo.preprocessing import to_rgb

__all__ = ["AMPLIFIED", "Gallery", "Shot"]

LONGEST = 400  # pixels: side of a picture on the page
# Photographs on a page: as many as artifacts leave room for. A mask and a difference take 5 to 60 kB together.
FEWEST, LIMIT, SHOTS = 18, 60, 260
AMPLIFIED = 16  # how many times a difference is shown
HIGHER, LOWER = np.array([214, 60, 40]), np.array([38, 104, 214])  # the artifact's mask is higher: red; lower: blue


NOTHING = (  # one transparent pixel
    "data:image/webp;base64,UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="
)


@dataclass(frozen=True)
class Shot:
    """An artifact's answer to one photograph, as data URIs; `difference` is transparent where nothing differs.

    `note` says so when nothing differs anywhere.
    """

    mask: str
    difference: str
    note: str = ""


@dataclass
class Gallery:
    """Photographs by number, the reference's masks, and per artifact a shot of each photograph.

    Of many photographs, `FEWEST` to `LIMIT` are kept, evenly spread over all.

    Args:
        total, artifacts: how many photographs and artifacts there are.
    """

    total: int
    artifacts: int
    photographs: dict[int, str] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    shots: dict[Path, dict[int, Shot]] = field(default_factory=dict)
    expected: dict[int, str] = field(default_factory=dict)

    def keeps(self, number: int) -> bool:
        """Whether photograph `number` is one of those on the page."""
        most = max(FEWEST, min(LIMIT, SHOTS // self.artifacts))
        return self.total <= most or number in {n * self.total // most for n in range(most)}

    def add_photograph(self, number: int, picture: Image.Image) -> None:
        if not self.keeps(number):
            return
        small = _small(to_rgb(picture))
        self.photographs[number], self.sizes[number] = data_uri(small, quality=72), small.size

    def add(self, artifact: Path, number: int, mask: Image.Image, expected: Image.Image) -> None:
        """Keeps an artifact's mask of photograph `number`, and its difference to the expected one."""
        if not self.keeps(number):
            return
        grey, right = mask.convert("L"), expected.convert("L")
        same = grey.tobytes() == right.tobytes()
        shown = self._mask(number, right) if same else data_uri(_small(grey), quality=60)
        shot = (
            Shot(shown, NOTHING, "no pixel differs")
            if same
            else Shot(shown, data_uri(_small(_difference(grey, right))))
        )
        self.shots.setdefault(artifact, {})[number] = shot

    def _mask(self, number: int, mask: Image.Image) -> str:
        """The reference's own mask, encoded once."""
        if number not in self.expected:
            self.expected[number] = data_uri(_small(mask), quality=60)
        return self.expected[number]


def _difference(mask: Image.Image, expected: Image.Image) -> Image.Image:
    """RGBA of two masks ("L"): colour tells the sign, opacity the amount times `AMPLIFIED`."""
    a, b = (np.asarray(picture, np.int16) for picture in (mask, expected))
    return Image.fromarray(_COLOURS[a - b], "RGBA")


def _colours() -> np.ndarray:
    """RGBA, uint8, at each signed difference; the negative ones stand where negative indices count from, at the end."""
    amount = np.minimum(np.arange(256) * AMPLIFIED, 255)
    colours = np.zeros((511, 4), np.uint8)
    colours[1:256, :3], colours[-255:, :3] = HIGHER, LOWER
    colours[:256, 3], colours[:-256:-1, 3] = amount, amount[1:]
    return colours


_COLOURS = _colours()


def _small(picture: Image.Image) -> Image.Image:
    scale = min(1.0, LONGEST / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture if scale == 1.0 else picture.resize((width, height), Image.Resampling.BOX)


def data_uri(picture: Image.Image, quality: int | None = None) -> str:
    """The picture as WebP: at a quality, or near-lossless in 32 colours' worth of detail when there is none."""
    buffer = io.BytesIO()
    if quality is None:
        _coarse(picture).save(buffer, "WEBP", lossless=True, quality=60, method=1)
    else:
        picture.save(buffer, "WEBP", quality=quality, method=1)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _coarse(picture: Image.Image) -> Image.Image:
    """Opacity in 16 steps: a third of the bytes, and no eye sees the difference of a difference."""
    pixels = np.asarray(picture).copy()
    pixels[..., 3] = np.ceil(pixels[..., 3] / 17) * 17
    pixels[pixels[..., 3] == 0] = 0
    return Image.fromarray(pixels, "RGBA")
