"""Bytes from anybody -> a photograph, judged by its header before it is decoded; a picture -> PNG."""

import contextlib
import functools
import io
import warnings
from collections.abc import Mapping
from typing import IO

from PIL import Image, ImageOps, UnidentifiedImageError

from ..apps.pictures import save
from ..errors import one_line
from .limits import LARGEST_SIDE, Limits, RefusalError

__all__ = ["decode", "png", "readable"]

# Not among them: what starts another program (EPS), renders text or vectors (WMF), or opens further files.
KINDS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
SPEED = 1  # zlib's level: at 6 a large cut-out takes three times as long and is a tenth smaller


def decode(file: IO[bytes], limits: Limits) -> Image.Image:
    """The photograph, upright.

    Raises:
        RefusalError: 413 it is too large, 400 it is none.
    """
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is below Pillow's
    try:
        with Image.open(file, formats=readable()) as image:
            _check(image.size, limits)
            image.load()
            with contextlib.suppress(Exception):  # damaged metadata: the photograph is taken as it is stored
                ImageOps.exif_transpose(image, in_place=True)
            return image
    except (RefusalError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise RefusalError(413, f"the photograph has more than {limits.pixels} pixels; send a smaller one") from None
    except UnidentifiedImageError:
        raise RefusalError(400, f"not a photograph that can be read; allowed are {', '.join(readable())}") from None
    except Exception as error:  # decoders raise EOFError, struct.error, zlib.error, TypeError … for damage
        raise RefusalError(400, f"the photograph cannot be decoded: {one_line(error, 120)}; send it whole") from None


@functools.cache
def readable() -> tuple[str, ...]:
    """The kinds of `KINDS` that can be read here; HEIF where pillow-heif is installed."""
    Image.init()  # all of Pillow's decoders: it knows none before it is first used
    with contextlib.suppress(ModuleNotFoundError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(kind for kind in KINDS if kind in Image.OPEN)


def _check(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise RefusalError(
            413, f"the photograph has {width}x{height} pixels; sides from 1 to {LARGEST_SIDE} are allowed"
        )
    if width * height > limits.pixels:
        raise RefusalError(
            413, f"the photograph has {width}x{height} pixels; {limits.pixels} are allowed, make it smaller"
        )


def png(picture: Image.Image, kept: Mapping[str, bytes] | None = None) -> bytes:
    """The picture as a PNG file, with what it keeps of its photograph (see `apps.pictures.kept_of`)."""
    buffer = io.BytesIO()
    save(picture, buffer, ".png", kept, compress_level=SPEED)
    return buffer.getvalue()
