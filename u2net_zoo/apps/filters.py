"""What masks need of image processing, in NumPy: running a file must not ask for SciPy or scikit-image.

Each function gives the very numbers of the library's function that it names; tests compare them.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Part", "connected_parts", "gaussian", "opened"]

TRUNCATE = 4.0  # sigmas beyond which a Gaussian counts as nothing, as in SciPy


@dataclass(frozen=True)
class Part:
    """A connected part of a picture.

    Attributes:
        box: x0, y0, x1, y1; x1 and y1 are the first outside.
        area: its pixels.
        mean: of the grey levels over these.
    """

    box: tuple[int, int, int, int]
    area: int
    mean: float


def gaussian(plane: np.ndarray, sigma: float) -> np.ndarray:
    """`scipy.ndimage.gaussian_filter` of (h, w) float64: mirrored at the border, edge pixel included."""
    radius = int(TRUNCATE * sigma + 0.5)
    steps = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / (sigma * sigma) * steps**2)
    kernel /= kernel.sum()
    for _ in range(2):  # along the rows' axis, then along the other one
        length = len(plane)
        padded = np.pad(plane, ((radius, radius), (0, 0)), mode="symmetric")
        plane = kernel[radius] * padded[radius : radius + length]
        for step in range(radius, 0, -1):  # SciPy's order, from the outermost pair to the innermost
            pair = padded[radius - step :][:length] + padded[radius + step :][:length]
            plane += pair * kernel[radius - step]
        plane = plane.T
    return plane


def opened(plane: np.ndarray) -> np.ndarray:
    """`skimage.morphology.opening` of (h, w) with `disk(1)`, a cross of 3x3 pixels."""
    return _over_cross(_over_cross(plane, np.minimum), np.maximum)


def _over_cross(plane: np.ndarray, take: np.ufunc) -> np.ndarray:
    result = plane.copy()
    take(result[1:], plane[:-1], out=result[1:])
    take(result[:-1], plane[1:], out=result[:-1])
    take(result[:, 1:], plane[:, :-1], out=result[:, 1:])
    take(result[:, :-1], plane[:, 1:], out=result[:, :-1])
    return result


def connected_parts(inside: np.ndarray, levels: np.ndarray) -> list[Part]:
    """`skimage.measure.regionprops` of the parts that `label(…, connectivity=2)` finds: corners connect.

    Args:
        inside: (h, w) bool. levels: (h, w) uint8, of which the means are taken.

    Works on runs of pixels, so that memory and time follow the outlines and not the areas.
    """
    rows, starts, ends = _runs(inside)
    if not len(rows):
        return []
    root = _roots(len(rows), *_touching(rows, starts, ends))
    _, part = np.unique(root, return_inverse=True)
    count = int(part.max()) + 1
    area, total = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.add.at(area, part, ends - starts)
    np.add.at(total, part, _sums(levels, rows, starts, ends))
    low, high = np.full((2, count), max(inside.shape)), np.zeros((2, count), np.int64)
    for axis, (first, last) in enumerate(((starts, ends), (rows, rows + 1))):
        np.minimum.at(low[axis], part, first)
        np.maximum.at(high[axis], part, last)
    boxes = np.concatenate([low, high]).T.tolist()
    return [Part(tuple(box), int(a), int(t) / int(a)) for box, a, t in zip(boxes, area, total, strict=True)]


def _runs(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column and first column behind of every run of pixels, in the order of reading."""
    edges = np.diff(np.pad(inside, ((0, 0), (1, 1))).view(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, starts, np.nonzero(edges == -1)[1]


def _touching(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs in neighbouring rows that share a side or a corner."""
    width = int(ends.max()) + 2
    above = (rows - 1) * width
    first = np.searchsorted(rows * width + ends, above + starts)  # the first that ends at this one's start or behind
    behind = np.searchsorted(rows * width + starts, above + ends, side="right")
    counts = np.maximum(behind - first, 0)
    lower = np.repeat(np.arange(len(rows)), counts)
    offsets = np.arange(len(lower)) - np.repeat(np.cumsum(counts) - counts, counts)
    return lower, np.repeat(first, counts) + offsets


def _roots(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """For each of `count` runs the least one that pairs connect it with."""
    root = np.arange(count)
    while True:
        one, other = root[a], root[b]
        if not (apart := one != other).any():
            return root
        np.minimum.at(root, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while not np.array_equal(shorter := root[root], root):
            root = shorter


def _sums(levels: np.ndarray, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums of the grey levels over each run."""
    flat = np.concatenate([[0], np.cumsum(levels, dtype=np.int64)])
    offset = rows * levels.shape[1]
    return flat[offset + ends] - flat[offset + starts]
