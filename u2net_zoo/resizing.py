"""How the sources bring a photograph to the network's size. NumPy and Pillow.

Bilinear sampling reads four pixels for each that it makes, so nothing of a photograph's own size is made on the way: a
hundred megapixels in float64 would be 2.4 GB. The arithmetic is scipy's `ndimage.zoom(order=1, grid_mode=True)` under
scikit-image's `resize`, in the same order, so that every bit is the same; the test compares them.

Pictures of more than 8 bits come as they are stored, with the value that is full brightness; sources that round to 8
bits on the way do not round them.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

__all__ = ["half_linear", "linear", "opencv_linear", "pillow", "skimage_linear", "torch_linear"]

FULL = 255.0  # of 8 bits
BAND = 1 << 20  # values that are made at once


def skimage_linear(pixels: np.ndarray, size: tuple[int, int], full: float = FULL) -> np.ndarray:
    """scikit-image 0.14's `transform.resize(mode="constant")`: linear, no antialiasing; zeros around the picture.

    uint8 (h, w, channels), or others with `full`, to float64 (H, W, channels) in [0, 1].
    """
    level = 1 / full  # scikit-image multiplies by it; a division rounds differently
    out = _sample(pixels, size, level, zeros=True)
    low, high = float(pixels.min()) * level, float(pixels.max()) * level
    if out.min() <= 0:  # the zeros around it count where they came through
        low = min(low, 0.0)
    return np.clip(out, low, high, out=out)


def linear(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w[, channels]) at the size (H, W): bilinear, half-pixel centres, borders repeated, as Torch and OpenCV do.

    Values keep their range; float64.
    """
    out = _sample(array, size, 1.0, zeros=False)
    return np.clip(out, float(array.min()), float(array.max()), out=out)


def torch_linear(pixels: np.ndarray, size: tuple[int, int], full: float = FULL) -> np.ndarray:
    """Torch's bilinear interpolation, its result cast to 8 bits, which truncates."""
    out = linear(pixels, size)
    return (np.floor(out + 1e-4) if full == FULL else out) / full  # float32 in Torch rounds 41.99999 up to 42


def opencv_linear(pixels: np.ndarray, size: tuple[int, int], full: float = FULL) -> np.ndarray:
    """OpenCV's INTER_LINEAR on 8 bits, which rounds."""
    out = linear(pixels, size)
    return (np.rint(out) if full == FULL else out) / full


def half_linear(pixels: np.ndarray, size: tuple[int, int], full: float = FULL) -> np.ndarray:
    """Halved by OpenCV's pyrDown while both sides exceed 768, then `opencv_linear`."""
    while min(pixels.shape[:2]) > 768:
        pixels = _halve(pixels)
    return opencv_linear(pixels, size, full)


def pillow(filter: Image.Resampling) -> partial[np.ndarray]:
    """Pillow's `resize` with that filter, to [0, 1]: on 8 bits, or in float32 channel by channel."""
    return partial(_pillow, filter=filter)


def _pillow(pixels: np.ndarray, size: tuple[int, int], full: float = FULL, *, filter: Image.Resampling) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], filter), np.float64) / full
    channels = (Image.fromarray(pixels[..., n].astype(np.float32)) for n in range(pixels.shape[2]))
    resized = np.stack([np.asarray(channel.resize(size[::-1], filter), np.float64) for channel in channels], axis=2)
    return np.clip(resized / full, 0, 1)


def _sample(array: np.ndarray, size: tuple[int, int], scale: float, *, zeros: bool) -> np.ndarray:
    """Bilinear samples of `array * scale` at half-pixel centres; beyond the border zeros, or the border again."""
    out = np.zeros((*size, *array.shape[2:]))
    across = list(_taps(array.shape[1], size[1]))
    step = max(1, BAND // max(1, out[0].size))
    for top in range(0, size[0], step):
        band = slice(top, top + step)
        for row, by_row, row_inside in _taps(array.shape[0], size[0]):
            rows = array[row[band]]
            for column, by_column, column_inside in across:
                value = np.multiply(rows[:, column], scale, dtype=np.float64)
                if zeros:
                    value[~row_inside[band]] = 0
                    value[:, ~column_inside] = 0
                value *= _along_axis(by_row[band], 0, array.ndim)
                value *= _along_axis(by_column, 1, array.ndim)
                out[band] += value
    return out


def _taps(count: int, wanted: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(index, weight, whether it lies inside) of the pixel before and of the one behind each of `wanted` places."""
    place = (np.arange(wanted) + 0.5) * (count / wanted) - 0.5
    first = np.floor(place).astype(np.intp)
    near = 1 - (place - first)
    for index, weight in ((first, near), (first + 1, 1 - near)):
        yield index.clip(0, count - 1), weight, (index >= 0) & (index < count)


def _along_axis(weights: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """`weights` as an array that multiplies along one axis of `ndim`."""
    return weights.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _halve(pixels: np.ndarray) -> np.ndarray:
    """Half the size, rounded down, as OpenCV's pyrDown: every second pixel of a Gaussian blur, borders mirrored."""
    whole = pixels.dtype in (np.uint8, np.uint16)
    shape = (pixels.shape[0] // 2, pixels.shape[1] // 2, *pixels.shape[2:])
    half = np.empty(shape, pixels.dtype if whole else np.float64)
    for channel in range(pixels.shape[2]):  # one at a time: in 32 bits each is four times the photograph's channel
        wide = np.pad(pixels[..., channel].astype(np.uint32 if whole else np.float64), 2, mode="reflect")
        rows = _every_second(wide, half.shape[0])
        both = _every_second(rows.T, half.shape[1]).T
        half[..., channel] = (both + 128) >> 8 if whole else both / 256
    return half


def _every_second(array: np.ndarray, count: int) -> np.ndarray:
    """`count` sums along the first axis, two apart, weighted 1 4 6 4 1."""
    a, b, c, d, e = (array[n : n + 2 * count : 2] for n in range(5))
    return a + e + 4 * (b + d) + 6 * c
