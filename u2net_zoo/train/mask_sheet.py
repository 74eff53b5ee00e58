"""A contact sheet of the first validation pictures: photograph, true mask, and the mask that is learned by now."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from ..files import staged
from ..preprocessing import Profile, get_profile
from ..weight_words import Classes
from .labels import IGNORED
from .recipe import Recipe
from .samples import Sample, Samples

__all__ = ["first_samples", "write_sheet"]

ROWS = 6
SIDE = 128  # pixels of each tile
GAP = 4
LEFT_OUT = (224, 224, 192)  # as PASCAL VOC paints it


def first_samples(samples: Samples) -> list[Sample]:
    """Those that are on every sheet of a run."""
    return [samples[0, index] for index in range(min(ROWS, len(samples)))]


def write_sheet(folder: Path, epoch: int, recipe: Recipe, samples: Sequence[Sample], logits: np.ndarray) -> None:
    """Writes `folder/sheets/epoch-NNNN.png`; a teacher's pupil has no true masks. Raises OutputError.

    Args:
        logits: d0 of the samples, (N, C, S, S) float.
    """
    classes, profile = recipe.told_apart, get_profile(recipe.profile)
    truth, answer = (_grey, _likely) if classes is None else (_map_of(classes), _map_of(classes))
    if profile.invert:
        truth, answer = (lambda label: _grey(1 - label)), (lambda d0: ImageChops.invert(_likely(d0)))
    rows = [
        [
            _photograph(sample.image, profile),
            *([] if sample.mask is None else [truth(sample.mask)]),
            answer(d0),
        ]
        for sample, d0 in zip(samples, logits, strict=True)
    ]
    step = SIDE + GAP
    sheet = Image.new("RGB", (len(rows[0]) * step - GAP, len(rows) * step - GAP), "white")
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            smooth = Image.Resampling.BILINEAR if tile.mode == "RGB" else Image.Resampling.NEAREST
            sheet.paste(tile.resize((SIDE, SIDE), smooth).convert("RGB"), (x * step, y * step))
    with staged(folder / "sheets" / f"epoch-{epoch:04d}.png") as path:
        sheet.save(path, "PNG")


def _likely(d0: np.ndarray) -> Image.Image:
    """Of logits of a mask, (1, S, S)."""
    return _grey(1 / (1 + np.exp(-np.clip(d0, -80, 80))))


def _map_of(classes: Classes) -> Callable[[np.ndarray], Image.Image]:
    """Of logits (classes, S, S) or of indices (1, S, S), in the classes' colours; what is left out is light.

    Of 256 classes, what is left out has the last one's colour.
    """
    colours = [*classes.colours, *[LEFT_OUT] * (256 - len(classes.colours))]

    def picture(planes: np.ndarray) -> Image.Image:
        indices = planes.argmax(0) if len(planes) > 1 else np.where(planes[0] == IGNORED, 255, planes[0])
        shown = Image.fromarray(indices.astype(np.uint8))
        shown.putpalette([level for colour in colours for level in colour])
        return shown

    return picture


def _photograph(image: np.ndarray, profile: Profile) -> Image.Image:
    """The network's input as a picture again: RGB; of one channel grey, of four the first three."""
    pixels = image.transpose(1, 2, 0) * np.asarray(profile.std) + np.asarray(profile.mean)
    levels = (pixels * 255).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels[..., :3])


def _grey(planes: np.ndarray) -> Image.Image:
    """Of (1, S, S) in [0, 1]."""
    return Image.fromarray((planes[0] * 255).clip(0, 255).round().astype(np.uint8)).convert("RGB")
