"""How near two answers are."""

from pathlib import Path

import numpy as np
from PIL import Image

from u2net_zoo.checkpoint import Checkpoint


def mask_agreement(pairs) -> tuple[float, float]:
    """Mean IoU at 0.5 and mean absolute error of 255 over (mask, mask) pairs of images or paths."""
    ious, errors = [], []
    for a, b in pairs:
        a, b = (np.asarray((Image.open(m) if isinstance(m, Path) else m).convert("L"), np.int16) for m in (a, b))
        x, y = a > 127, b > 127
        ious.append((x & y).sum() / max((x | y).sum(), 1))
        errors.append(np.abs(a - b).mean())
    return float(np.mean(ious)), float(np.mean(errors))


def near(a: np.ndarray, b: np.ndarray) -> float:
    """The share of pixels that are within one grey level of each other."""
    return float((np.abs(a.astype(int) - b) <= 1).mean())


def largest_relative(a: Checkpoint, b: Checkpoint) -> float:
    """Over the folded tensors: the largest difference, of the tensor's largest value."""
    x, y = a.fold().state, b.fold().state
    assert set(x) == set(y)
    return max(float(np.abs(x[key] - y[key]).max() / max(np.abs(y[key]).max(), 1e-12)) for key in y)


def identical(a: Checkpoint, b: Checkpoint) -> bool:
    return all(np.array_equal(a.state[key], b.state[key]) for key in b.state if "num_batches_tracked" not in key)
