"""A picture by formula, and what the network answers to it: a browser compares its graphics card's answer with that."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...predictor import Predictor

__all__ = ["describe", "picture"]

BLOCK = 16  # pixels along a side; the mean over each block is kept, so every pixel counts
# Measured through WebGPU in software, 2026-11-26: u2net_nano 5.1e-7, small networks 2.8e-7 to 4.0e-7. Graphics cards
# round in their own ways: allowed is what the project allows kernels that trade digits for speed, in every mean.
BOUND = 2e-3


def picture(height: int, width: int) -> NDArray[np.float32]:
    """A disc on a pattern: (1, 3, H, W) float32 in [-2, 2), the same to the bit as `probe` in worker.js."""
    c, y, x = np.ogrid[:3, :height, :width]
    inside = (2 * x - width) ** 2 + (2 * y - height) ** 2 < min(height, width) ** 2 // 4
    levels = (31 * x + 17 * y + 97 * c) % 256 + 256 * inside
    return (levels / 128 - 2).astype(np.float32)[None]


def describe(predictor: Predictor, height: int, width: int) -> dict[str, Any]:
    """The means of the mask over blocks, row by row, and how far from each another engine's may be."""
    mask = np.asarray(predictor(picture(height, width))["mask"], np.float64)[0, 0]
    rows, columns = np.arange(0, height, BLOCK), np.arange(0, width, BLOCK)
    sums = np.add.reduceat(np.add.reduceat(mask, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    return {"block": BLOCK, "bound": BOUND, "means": np.round(sums / counts, 6).ravel().tolist()}
