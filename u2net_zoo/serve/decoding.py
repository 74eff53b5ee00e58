"""Bytes from anybody -> a photograph, judged by its header before it is decoded."""

from typing import IO, BinaryIO, cast

from PIL import Image

from ..errors import ImageError, OversizeError
from ..photographs import read_image
from .limits import LARGEST_SIDE, Limits, RefusalError

__all__ = ["SPEED", "decode"]

# Not among them: what starts another program (EPS), renders text or vectors (WMF), or opens further files.
KINDS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
SPEED = 1  # zlib's level: at 6 a large cut-out takes three times as long and is a tenth smaller


def decode(file: IO[bytes], limits: Limits) -> Image.Image:
    """The photograph, upright.

    Raises:
        RefusalError: 413 it is too large, 400 it is none.
    """
    try:
        return read_image(cast(BinaryIO, file), kinds=KINDS, check=lambda size, _: _check(size, limits))
    except OversizeError:
        raise RefusalError(413, f"the photograph has more than {limits.pixels} pixels; send a smaller one") from None
    except ImageError as error:
        raise RefusalError(400, f"{error}; send a complete file, one of {', '.join(KINDS)}") from None


def _check(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise RefusalError(413, f"the photograph has {width}x{height} pixels; sides of 1 to {LARGEST_SIDE} are allowed")
    if width * height > limits.pixels:
        raise RefusalError(
            413, f"the photograph has {width}x{height} pixels; {limits.pixels} are allowed; send a smaller one"
        )
