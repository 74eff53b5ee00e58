"""What reduced precision is measured on: photographs of a folder, or a handful that comes with scikit-image."""

from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import ImageError, InputError, OptionError
from u2net_zoo.preprocessing import PROFILES, read_image

from .rounding import BITS

__all__ = ["BUNDLED", "LIMIT", "check", "listed", "tensors"]

BUNDLED = ("astronaut", "camera", "chelsea", "clock", "coffee", "rocket")
LIMIT = 24  # photographs of a folder that are used: more cost time and change little


def check(folder: Path, precision: object) -> None:
    """Raises OptionError where `precision` needs no photographs, InputError where `folder` holds none."""
    if precision not in BITS:
        raise OptionError(f"--calibration goes with a precision that is measured: {', '.join(BITS)}; not {precision}")
    listed(folder)


def listed(folder: Path) -> list[Path]:
    """The photographs in `folder`, sorted by name, LIMIT at most, evenly spread over it.

    Raises:
        InputError: it is no folder, or holds no photograph.
    """
    from PIL import Image

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --calibration takes a folder of photographs")
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in known and f.is_file() and f.name[0] != ".")
    if not files:
        raise InputError(f"{folder}: holds no photographs to calibrate on")
    if len(files) > LIMIT:
        files = [files[n * len(files) // LIMIT] for n in range(LIMIT)]
    return files


def tensors(size: tuple[int, int], folder: Path | None = None) -> list[np.ndarray]:
    """The photographs as the network takes them, (1, 3, H, W) float32 each.

    Raises:
        InputError: the folder holds no photographs, or one that cannot be read.
    """
    from PIL import Image

    profile = PROFILES["paper"]
    if folder is not None:
        return [profile.tensor(_opened(file), size) for file in listed(folder)]
    from skimage import data

    return [profile.tensor(Image.fromarray(getattr(data, name)()).convert("RGB"), size) for name in BUNDLED]


def _opened(file: Path) -> Any:
    try:
        return read_image(file)
    except ImageError as error:
        raise InputError(f"{file}: cannot calibrate on it: {error}") from None
