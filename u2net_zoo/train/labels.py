"""What the picture beside a photograph means: from a file to the numbers that are learned, or what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..depth import values_of
from ..errors import InputError
from ..photographs import planes
from ..preprocessing import read_image
from .recipe import Recipe

__all__ = ["GREY", "IGNORED", "Labels", "grey_image", "labels_of", "one_channel"]

GREY = ("1", "L", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")
IGNORED = -100  # instead of a class: what Torch's cross-entropy passes over


@dataclass(frozen=True)
class Labels:
    """Masks, white where the object is; or maps of classes; or drawings, dark on white paper.

    Attributes:
        classes: names of the classes; empty: masks.
        drawings: what is learned is the pencil: white paper is 0. Colours are taken for their luminance.
        ignore: the number in maps of classes that stands for no class, 255 in PASCAL VOC's; -1: none.
    """

    classes: tuple[str, ...] = ()
    drawings: bool = False
    ignore: int = -1

    @property
    def modes(self) -> tuple[str, ...]:
        """Pillow's modes of files that need no second look: whatever they hold is a label."""
        return () if self.classes else (*GREY, "L", "LA", "P", "RGB", "RGBA", "CMYK") if self.drawings else GREY

    def of(self, picture: Image.Image, path: Path) -> np.ndarray:
        """What is learned, (H, W) float32: in [0, 1] with 1 where object or pencil is; or the index of each class, or
        `IGNORED`.

        Args:
            path: where the picture is from, for errors.

        Raises:
            InputError: it is no such label.
        """
        if self.classes:
            return _indices(picture, path, self.classes, self.ignore)
        if self.drawings:
            levels, full = planes(picture, 1)
            return (1 - levels[..., 0] / full).clip(0, 1).astype(np.float32)
        values = np.asarray(one_channel(picture, path), np.float32)
        return values / values.max() if values.size and values.max() > 0 else values  # as the authors' loader does

    def read(self, path: Path) -> np.ndarray:
        """The same of a file. Raises ImageError: not readable. InputError: no label."""
        return self.of(read_image(path), path)


def labels_of(recipe: Recipe) -> Labels:
    """What a run by this recipe learns."""
    names = recipe.told_apart.names if recipe.told_apart else ()
    return Labels(names, drawings=recipe.draws, ignore=recipe.ignore)


def _indices(picture: Image.Image, path: Path, classes: tuple[str, ...], ignore: int) -> np.ndarray:
    """(H, W) float32 of whole numbers, from a palette's indices or from grey values, of 8 or 16 bits."""
    values = np.asarray(picture if picture.mode == "P" else one_channel(picture, path, "map of classes"), np.float32)
    numbers, known = np.unique(values), f"0 {classes[0]} to {len(classes) - 1} {classes[-1]}"
    indices = (numbers >= 0) & (numbers < len(classes)) & (numbers == np.floor(numbers))
    strange = numbers[~indices & ((numbers != ignore) | (ignore < 0))]
    if len(strange) and numbers.tolist() == [0, 255]:
        raise InputError(f"{path}: holds 0 and 255, a mask of black and white; classes are numbers from {known}")
    if len(strange):
        usual = ignore < 0 and len(numbers) > 1 and len(strange) == 1 and len(classes) <= strange[0] < 2**16
        usual = usual and strange[0] == np.floor(strange[0])
        hint = f"; --ignore {strange[0]:g} leaves it out of true maps" if usual else ""
        hint = hint and f"; is a name missing in --classes?{hint}" if strange[0] == len(classes) else hint
        raise InputError(f"{path}: holds {strange[-1]:g}; the {len(classes)} classes are {known}{hint}")
    return values if ignore < 0 else np.where(values == ignore, np.float32(IGNORED), values)


def grey_image(path: Path) -> Image.Image:
    """A picture of one channel; three equal ones are taken for one. Raises ImageError, or InputError on colours."""
    return one_channel(read_image(path), path)


def one_channel(picture: Image.Image, path: Path, what: str = "mask") -> Image.Image:
    if picture.mode in GREY:
        return picture
    deep = values_of(picture)
    colours = np.asarray(picture.convert("RGB")) if deep is None else deep[0]
    if (colours != colours[..., :1]).any():
        hint = "; for classes give --classes and index or palette pictures" if what == "mask" else " or a palette"
        raise InputError(f"{path}: the {what} is not grey (mode {picture.mode}); save it with one channel{hint}")
    return Image.fromarray(colours[..., 0])
