"""Photographs of any size in little memory: what is costly is found at a working size and brought back band by band."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

__all__ = ["WORKING", "bands", "enlarged", "floats", "to_bytes", "working"]

WORKING = 2**19  # pixels of a working copy, 724 squared; a smaller photograph is worked on as it is
ROWS = 256


def bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of full width that cover a picture of size (W, H), from the top."""
    width, height = size
    for top in range(0, height, ROWS):
        yield 0, top, width, min(top + ROWS, height)


def working(image: Image.Image, limit: int = WORKING) -> Image.Image:
    """The picture with at most about `limit` pixels, averaged over areas; itself when it has no more."""
    pixels = image.width * image.height
    if pixels <= limit:
        return image
    scale = (limit / pixels) ** 0.5
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def floats(image: Image.Image) -> np.ndarray:
    """An "L" or "RGB" picture as (h, w) or (h, w, 3) float32 in [0, 1]."""
    return np.asarray(image, np.float32) / np.float32(255)


def to_bytes(array: np.ndarray) -> np.ndarray:
    """[0, 1] to 0..255, clipped and rounded, uint8."""
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def enlarged(layer: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """One band of a layer that is brought to a picture's size.

    Args:
        layer: (h, w, c) float32 at the working size.
        size: (W, H) of the picture.
        box: the band, see `bands`.

    Returns:
        (rows, W, c) float32, bilinear with half-pixel centres; bands meet without a seam.
    """
    (h, w), (width, height), (_, top, _, bottom) = layer.shape[:2], size, box
    if (w, h) == size:
        return layer[top:bottom]
    part = (0.0, top * h / height, float(w), bottom * h / height)
    channels = (Image.fromarray(np.ascontiguousarray(layer[..., c])) for c in range(layer.shape[2]))
    rows = (width, bottom - top)
    return np.stack([np.asarray(c.resize(rows, Image.Resampling.BILINEAR, box=part)) for c in channels], axis=-1)
