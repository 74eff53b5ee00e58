"""Kernels rounded to what few bits can hold, as float32 arrays of the same shape: what a compressed file decodes to.

Every result is exact in float16, so a file that stores scales or palettes in float16 holds the same numbers.
"""

import numpy as np

__all__ = ["BITS", "int8_codes", "rounded"]

BITS = {"int8": 8, "palette8": 8, "palette6": 6, "palette4": 4}
STEPS = 127  # of a symmetric int8: -127 … 127
ROUNDS = 60  # of Lloyd's algorithm; it has converged long before


def rounded(kernel: np.ndarray, scheme: str) -> np.ndarray:
    """`kernel` (O, I, h, w) float32 as `scheme`, a key of BITS, holds it."""
    if scheme == "int8":
        codes, scale = int8_codes(kernel)
        return codes.astype(np.float32) * scale[:, None, None, None]
    return _palettised(kernel, 1 << BITS[scheme])


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


def _palettised(kernel: np.ndarray, size: int) -> np.ndarray:
    """Every weight replaced by the nearest of at most `size` values: k-means in one dimension, deterministic.

    Lloyd's algorithm on sorted values: clusters are ranges, so a prefix sum gives their means. The start is the
    quantiles of the density's cube root, which is the best spread of many values (Panter and Dite, 1951).
    """
    values = np.sort(kernel.ravel().astype(np.float64))
    centres = _start(values, size)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    for _ in range(ROUNDS):
        edges = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], edges, [len(values)]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        moved = np.sort(np.where(counts > 0, means, centres))
        if np.allclose(moved, centres, rtol=0, atol=1e-9):
            break
        centres = moved
    palette = np.unique(centres.astype(np.float16).astype(np.float32))
    nearest = np.searchsorted((palette[1:] + palette[:-1]) / 2, kernel.ravel())
    return palette[nearest].reshape(kernel.shape)


def _start(values: np.ndarray, size: int) -> np.ndarray:
    """`size` ascending values, dense where `values` (sorted) are dense, and reaching both ends."""
    edges = np.linspace(values[0], values[-1], 4 * size + 1)
    density = np.histogram(values, edges)[0] ** (1 / 3)
    reach = np.concatenate([[0.0], np.cumsum(density)])
    return np.interp(np.linspace(0, reach[-1], 2 * size + 1)[1::2], reach, edges)
