"""Pictures of more than 8 bits: the values that they hold, and which of them is full brightness.

Pillow holds such values for one channel ("I;16", "I", "F"). Of 16 bits in each of several channels it makes 8, so a
file's values are read a second time and go with the picture, until Pillow makes another one of it.
"""

import contextlib
import io
import logging

import numpy as np
from PIL import Image

from .errors import ImageError, install_hint

__all__ = ["copied", "full_value", "keep_values", "read_values", "sixteen_bits", "values_of"]

KEPT = "_u2net_zoo_values"  # of a picture: (its core image, uint16 (H, W, 1 or 3))
WHOLE = (255.0, 65535.0, 2.0**31 - 1)
CHANNELS = {"LA": 1, "RGB": 3, "RGBA": 3, "RGBX": 3}  # without alpha, as 8-bit pictures are taken


def full_value(image: Image.Image) -> float:
    """What is full brightness in a picture of mode "I;16", "I" or "F".

    65535 of 16 bits, also where only 12 are used: the file says no more. "I" and "F" hold whatever was put into them
    and do not say what is white: the least of 255, 65535 and 2^31 - 1 that holds the brightest value; in "F", which
    mostly is a share of one, also 1, and the brightest value itself beyond them.
    """
    if image.mode.startswith("I;16"):
        return WHOLE[1]
    brightest = float(np.asarray(image.getextrema(), np.float64)[1])
    ranges = WHOLE if image.mode == "I" else (1.0, *WHOLE)
    return next((value for value in ranges if brightest <= value), brightest)


def values_of(image: Image.Image) -> tuple[np.ndarray, float] | None:
    """(H, W, 1 or 3) as the picture holds it, and its `full_value`; None for pictures of 8 bits.

    Raises ImageError: some are no numbers.
    """
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)[..., None]
        if image.mode == "F" and not np.isfinite(values).all():
            raise ImageError("the photograph holds values that are no numbers")
        return values.astype(values.dtype.newbyteorder("="), copy=False), full_value(image)
    core, kept = vars(image).get(KEPT, (None, None))
    return (kept, WHOLE[1]) if kept is not None and core is image.im else None


def sixteen_bits(image: Image.Image) -> np.ndarray | None:
    """The same as (H, W, 3) uint16 whose full brightness is 65535; None for pictures of 8 bits."""
    found = values_of(image)
    if found is None:
        return None
    values, full = found
    if values.dtype != np.uint16:
        values = np.clip(values * (WHOLE[1] / full), 0, WHOLE[1]).round().astype(np.uint16)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def keep_values(image: Image.Image, values: np.ndarray) -> None:
    """Lets values, uint16 (H, W, 1 or 3), go with the picture: until its pixels are others, and not into its copies."""
    vars(image)[KEPT] = image.im, values


def copied(image: Image.Image) -> Image.Image:
    """A copy that keeps the values too."""
    copy = image.copy()
    core, kept = vars(image).get(KEPT, (None, None))
    if kept is not None and core is image.im:
        keep_values(copy, kept)
    return copy


def is_cut(image: Image.Image) -> bool:
    """Whether Pillow is about to make 8 bits of the 16 in each channel of an opened PNG or TIFF file."""
    if image.format not in ("PNG", "TIFF") or image.mode not in CHANNELS:
        return False
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def read_values(data: bytes, image: Image.Image, orientation: int, name: str) -> np.ndarray:
    """The 16-bit values of a PNG or TIFF file, (H, W, 1 or 3) without alpha; `image` is what Pillow made of it.

    Both upright; `orientation` is EXIF's, 1 to 8. tifffile reads TIFF as scikit-image does, OpenCV reads what
    is compressed otherwise, and PNG.

    Raises ImageError: OpenCV is needed and not installed, or cannot read it.
    """
    values = _by_tifffile(data, image.size) if image.format == "TIFF" else None
    values = _by_opencv(data, name) if values is None else values
    channels = CHANNELS[image.mode]
    if values is not None and values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):
        values = values.transpose(1, 2, 0)  # TIFF may store one channel after the other
    if values is not None and values.dtype == np.uint16 and values.ndim == 3 and values.shape[2] >= channels:
        upright = _turned(values[..., :channels], orientation)
        if upright.shape[:2] == image.size[::-1]:
            return upright
    raise ImageError(f"{name}: its 16 bits in each channel cannot be read; save it as PNG, or with 8 bits")


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) upright, by EXIF's orientation, 1 to 8."""
    if orientation in (2, 4, 5, 7):
        values = values[:, ::-1]
    quarters = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(values, quarters))


def _by_tifffile(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """The first page, when it is as large as Pillow says, whose `size` (W, H) was held to the limit."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    # A compression that it needs another package for, or damage, raises anything.
    with contextlib.suppress(Exception), tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        if {page.imagewidth, page.imagelength} == set(size) and page.imagedepth == 1 and page.samplesperpixel <= 4:
            return np.asarray(page.asarray())
    return None


def _by_opencv(data: bytes, name: str) -> np.ndarray | None:
    try:
        import cv2
    except ModuleNotFoundError:
        needs = "16 bits in each channel need the package 'opencv-python-headless'"
        raise ImageError(f"{name}: {needs}: {install_hint('apps')}") from None
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if values is None or values.ndim != 3 else values[..., [2, 1, 0]]
