"""What the picture beside a photograph means: from a file to the numbers that are learned, or what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..depth import values_of
from ..errors import InputError
from ..preprocessing import read_image

__all__ = ["GREY", "Labels", "grey_image"]

GREY = ("1", "L", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")


@dataclass(frozen=True)
class Labels:
    """Masks, white where the object is."""

    @property
    def modes(self) -> tuple[str, ...]:
        """Pillow's modes of files that need no second look: whatever they hold is a label."""
        return GREY

    def of(self, picture: Image.Image, path: Path) -> np.ndarray:
        """What is learned, (H, W) float32. `path`: where it is from, for errors. Raises InputError."""
        values = np.asarray(one_channel(picture, path), np.float32)
        return values / values.max() if values.size and values.max() > 0 else values  # as the authors' loader does

    def read(self, path: Path) -> np.ndarray:
        """The same of a file. Raises ImageError: not readable. InputError: no label."""
        return self.of(read_image(path), path)


def grey_image(path: Path) -> Image.Image:
    """A picture of one channel; three equal ones are taken for one. Raises ImageError, or InputError on colours."""
    return one_channel(read_image(path), path)


def one_channel(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode in GREY:
        return picture
    deep = values_of(picture)
    colours = np.asarray(picture.convert("RGB")) if deep is None else deep[0]
    if (colours != colours[..., :1]).any():
        raise InputError(f"{path}: the mask is not grey (mode {picture.mode}); save it with one channel")
    return Image.fromarray(colours[..., 0])
