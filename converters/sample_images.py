"""What reduced precision is measured on: photographs of a folder, or a handful that comes with scikit-image."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo.errors import ImageError, InputError, MissingExtraError
from u2net_zoo.photographs import photographs_in
from u2net_zoo.preprocessing import PROFILES, read_image

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["BUNDLED", "LIMIT", "bundled", "images", "listed", "tensors"]

BUNDLED = ("astronaut", "camera", "chelsea", "clock", "coffee", "rocket")
LIMIT = 24  # photographs of a folder that are used: more cost time and change little
LARGE = 2048  # pixels: longer sides are brought down to this; networks see a fraction of it


def listed(folder: Path) -> list[Path]:
    """The photographs in `folder`, sorted by name, LIMIT at most, evenly spread over it.

    Raises:
        InputError: it is no folder, or holds no photograph.
    """

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --calibration takes a folder of photographs")
    files = photographs_in(folder)
    if not files:
        raise InputError(f"{folder}: holds no photographs to calibrate on")
    if len(files) > LIMIT:
        files = [files[n * len(files) // LIMIT] for n in range(LIMIT)]
    return files


def images(folder: Path | None = None) -> "list[Image.Image]":
    """The photographs of a folder, upright; without one a handful of scikit-image's, in RGB.

    Raises:
        InputError: the folder holds no photographs, or one that cannot be read.
    """
    if folder is not None:
        return [_open(file) for file in listed(folder)]
    return [bundled(name) for name in BUNDLED]


def bundled(name: str) -> "Image.Image":
    """One of scikit-image's photographs, a name of `BUNDLED`, in RGB.

    Read out of that package's folder: importing its own reader takes five times as long as reading (2026-11-26).
    """
    from PIL import Image

    package = find_spec("skimage")
    folder = Path(package.origin).parent / "data" if package and package.origin else Path()
    for file in folder.glob(f"{name}*.*"):
        if file.suffix in (".png", ".jpg"):
            with Image.open(file) as image:
                return image.convert("RGB")
    if package is None:
        raise MissingExtraError("a comparison on photographs", "scikit-image", "torch")
    from skimage import data  # another release may keep it elsewhere

    return Image.fromarray(getattr(data, name)()).convert("RGB")


def tensors(size: tuple[int, int], folder: Path | None = None) -> list[np.ndarray]:
    """`images` as the network takes them, (1, 3, H, W) float32 each; raises as `images`."""
    return [PROFILES["paper"].tensor(image, size) for image in images(folder)]


def _open(file: Path) -> "Image.Image":
    """A photograph, made smaller where it is large: two dozen of them stay in memory while layers are measured."""
    try:
        image = read_image(file)
        image.thumbnail((LARGE, LARGE))
        return image
    except ImageError as error:
        raise InputError(f"{file}: cannot calibrate on it: {error}") from None
