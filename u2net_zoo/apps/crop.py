"""`crop`: the photograph cut down to its object."""

import math
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageColor

from ..errors import OptionError
from .base import Result
from .refine import RefinedApplication, as_rgb, foreground_of, thresholded

__all__ = ["Crop", "crop", "crop_box", "pad_to_square"]

Rectangle = tuple[int, int, int, int]
LARGEST = 10.0


def crop_box(
    mask: Image.Image, *, margin: float = 0.05, square: bool = False, threshold: float = 0.5
) -> Rectangle | None:
    """The window (x0, y0, x1, y1) around all that a mask shows; None where it shows nothing.

    Args:
        mask: "L", or a class map "P": everything but the background then.
        margin: added on every side, as a share of the object's longer side; what would leave the picture is cut off.
        square: as wide as high: the window grows to the longer side and moves inside. A picture that is too small for
            it gives as much as it has.
        threshold: the share of 255 from which on a pixel is object.
    """
    box = thresholded(foreground_of(mask), threshold).getbbox()
    if box is None:
        return None
    added = round(margin * max(box[2] - box[0], box[3] - box[1]))
    sides = [(box[axis] - added, box[axis + 2] + added) for axis in (0, 1)]
    longest = max(high - low for low, high in sides)
    spans = [
        _fit_span(low, high, longest if square else high - low, most, square)
        for (low, high), most in zip(sides, mask.size, strict=True)
    ]
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def crop(
    image: Image.Image,
    mask: Image.Image,
    *,
    margin: float = 0.05,
    square: bool = False,
    threshold: float = 0.5,
    pad: str = "",
) -> Image.Image:
    """The photograph cut down to its object, in its own mode; all of it where the mask shows nothing.

    Args:
        image: in any mode. mask: of its size. pad: see `pad_to_square`; nothing is added where it is empty.
            The rest: see `crop_box`, which also says where the window lies.

    Raises:
        OptionError: `pad` is no colour.
    """
    box = crop_box(mask, margin=margin, square=square, threshold=threshold) or (0, 0, *image.size)
    return pad_to_square(image.crop(box), pad) if pad else image.crop(box)


def pad_to_square(image: Image.Image, colour: str) -> Image.Image:
    """A square as wide as the picture's longer side, the picture in its middle; "L", "RGB", or "RGBA" if it was.

    Raises:
        OptionError: no colour.
    """
    picture = image if image.mode in ("L", "RGB", "RGBA") else as_rgb(image)
    try:
        ground = ImageColor.getcolor(colour, picture.mode)
    except ValueError:
        raise OptionError(f"--pad {colour[:40]!r}: allowed is a colour such as white or #20c0a0") from None
    side = max(picture.size)
    square = Image.new(picture.mode, (side, side), ground)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def _fit_span(low: int, high: int, length: int, most: int, move: bool) -> tuple[int, int]:
    """A span of `length` about the middle of (low, high), moved or cut so that it lies in 0..most."""
    low -= (length - (high - low)) // 2
    if move:
        low = max(0, min(low, most - length))
    return max(low, 0), min(low + length, most)


@dataclass(frozen=True)
class Crop(RefinedApplication):
    """The part of the photograph that holds the object, in the photograph's own mode, with its mask alongside."""

    name = "crop"
    title = "Crop photographs to their main object."
    examples = {
        "Cut a photograph down to its object": "u2zoo crop cat.jpg -o cropped.jpg",
        "Square pictures of a folder, with more room": "u2zoo crop photos -o squares --square --margin 0.2",
        "Squares alone, white where there is no room": "u2zoo crop photos -o white --square --pad white --no-masks",
    }
    beside = ("_mask",)

    margin: float = field(
        default=0.05, metadata={"help": "Space around the object, as a share of its longer side, from 0 to 10."}
    )
    square: bool = field(default=False, metadata={"help": "As wide as high, where the photograph has room for it."})
    pad: str = field(default="", metadata={"help": "With --square: fill what has no room in this colour, e.g. white."})
    masks: bool = field(default=True, metadata={"help": "Write the mask of each crop beside it."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pad and not self.square:
            raise OptionError(f"--pad {self.pad[:40]}: goes with --square")
        if self.pad:
            pad_to_square(Image.new("L", (1, 1)), self.pad)
        if not (math.isfinite(self.margin) and 0 <= self.margin <= LARGEST):
            raise OptionError(f"--margin {self.margin}: allowed are numbers from 0 to {LARGEST:g}")

    def make(self, image: Image.Image, mask: Image.Image) -> Result:
        box = crop_box(mask, margin=self.margin, square=self.square)
        whole = (0, 0, *image.size)
        facts: dict[str, Any] = {"box": list(box or whole)}
        if box is None:
            facts["warning"] = "no object was found: the whole picture is kept"
        pictures = {"": image.crop(box or whole), "_mask": mask.crop(box or whole)}
        if self.pad:
            pictures = {"": pad_to_square(pictures[""], self.pad), "_mask": pad_to_square(pictures["_mask"], "black")}
        elif self.square and len(set(pictures[""].size)) > 1:
            facts.setdefault("warning", "no room for a square: --pad white fills what is missing")
        return Result(pictures if self.masks else {"": pictures[""]}, facts)
