"""Kernels rounded to what few bits can hold, as float32 arrays of the same shape: what a compressed file decodes to.

Scales and palettes are exact in float16, so a file that stores them in float16 holds the same numbers.
"""

import heapq

import numpy as np

from ..options import W8A8

__all__ = ["BITS", "MEASURED", "int8_codes", "rounded"]

BITS = {"int8": 8, "palette8": 8, "palette6": 6, "palette4": 4}
MEASURED = (*BITS, W8A8)  # the precisions that are tried on photographs
STEPS = 127  # of a symmetric int8: -127 … 127
ROUNDS = 60  # of Lloyd's algorithm; it has converged long before


def rounded(kernel: np.ndarray, scheme: str) -> np.ndarray:
    """`kernel` (O, I, h, w) float32 as `scheme`, a key of BITS, holds it."""
    if scheme == "int8":
        codes, scale = int8_codes(kernel)
        return codes.astype(np.float32) * scale[:, None, None, None]
    return _palettise(kernel, 1 << BITS[scheme])


def int8_codes(kernel: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """(codes int8 of the kernel's shape, scale (O,) float32): kernel ≈ codes · scale per output channel, symmetric.

    Scales are numbers of float16, rounded down so that the largest code of a channel is `steps`: a kernel that was
    rounded already comes back unchanged. A channel too small for float16's scales is 0.
    """
    flat = kernel.reshape(len(kernel), -1)
    exact = np.abs(flat).max(axis=1) / np.float32(steps)
    scale = exact.astype(np.float16)
    scale = np.where(scale > exact, np.nextafter(scale, np.float16(0)), scale).astype(np.float32)
    codes = np.clip(np.rint(flat / np.where(scale > 0, scale, np.float32(np.inf))[:, None]), -steps, steps)
    return codes.astype(np.int8).reshape(kernel.shape), np.where(scale > 0, scale, np.float32(1))


def _palettise(kernel: np.ndarray, size: int) -> np.ndarray:
    """Every weight replaced by the nearest of at most `size` values: k-means in one dimension, deterministic.

    Lloyd's algorithm on sorted values, where clusters are ranges and prefix sums give their means. It starts from the
    ranges that come of halving the one with the largest error again and again, so that a few far weights get values of
    their own.
    """
    values = np.sort(kernel.ravel().astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    edges = _halve(values, sums, size)
    for _ in range(ROUNDS):
        centres = np.diff(sums[edges]) / np.diff(edges)
        inner = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        moved = np.unique(np.concatenate([[0], inner, [len(values)]]))  # a range that lost all its values is gone
        if np.array_equal(moved, edges):
            break
        edges = moved
    centres = np.diff(sums[edges]) / np.diff(edges)
    palette = np.unique(centres.astype(np.float16).astype(np.float32))
    nearest = np.searchsorted((palette[1:] + palette[:-1]) / 2, kernel.ravel())
    return palette[nearest].reshape(kernel.shape)


def _halve(values: np.ndarray, sums: np.ndarray, size: int) -> np.ndarray:
    """Edges of at most `size` ranges of `values` (sorted; `sums`: of those before): at the mean of the worst, again."""
    squares = np.concatenate([[0.0], np.cumsum(values**2)])

    def entry(a: int, b: int) -> tuple[float, int, int]:
        return float((sums[b] - sums[a]) ** 2 / (b - a) - (squares[b] - squares[a])), a, b  # minus the squared error

    ranges = [entry(0, len(values))]
    while len(ranges) < size:
        _, a, b = ranges[0]
        middle = int(np.searchsorted(values, (sums[b] - sums[a]) / (b - a)))
        if not a < middle < b:
            break  # the worst range holds one value only
        heapq.heapreplace(ranges, entry(a, middle))
        heapq.heappush(ranges, entry(middle, b))
    return np.array([*sorted(a for _, a, _ in ranges), len(values)])
