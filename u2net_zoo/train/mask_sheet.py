"""A contact sheet of the first validation pictures: photograph, true mask, and the mask that is learned by now."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import staged
from ..preprocessing import PROFILES
from .samples import Sample, Samples

__all__ = ["first_samples", "write_sheet"]

ROWS = 6
SIDE = 128  # pixels of each tile
GAP = 4


def first_samples(samples: Samples) -> list[Sample]:
    """Those that are on every sheet of a run."""
    return [samples[0, index] for index in range(min(ROWS, len(samples)))]


def write_sheet(folder: Path, epoch: int, samples: Sequence[Sample], logits: np.ndarray) -> None:
    """Writes `folder/sheets/epoch-NNNN.png`; a teacher's pupil has no true masks. Raises OutputError.

    Args:
        logits: d0 of the samples, (N, 1, S, S) float.
    """
    rows = [
        [_photograph(sample.image), *([] if sample.mask is None else [_grey(sample.mask[0])]), _grey(_sigmoid(d0[0]))]
        for sample, d0 in zip(samples, logits, strict=True)
    ]
    step = SIDE + GAP
    sheet = Image.new("RGB", (len(rows[0]) * step - GAP, len(rows) * step - GAP), "white")
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            sheet.paste(tile.resize((SIDE, SIDE), Image.Resampling.BILINEAR), (x * step, y * step))
    with staged(folder / "sheets" / f"epoch-{epoch:04d}.png") as path:
        sheet.save(path, "PNG")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))


def _photograph(image: np.ndarray) -> Image.Image:
    """The network's input as a picture again."""
    profile = PROFILES["paper"]
    pixels = image.transpose(1, 2, 0) * np.asarray(profile.std) + np.asarray(profile.mean)
    return Image.fromarray((pixels * 255).clip(0, 255).astype(np.uint8))


def _grey(plane: np.ndarray) -> Image.Image:
    return Image.fromarray((plane * 255).clip(0, 255).round().astype(np.uint8)).convert("RGB")
