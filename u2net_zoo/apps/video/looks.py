"""What is made of a frame and its mask: the object with alpha, the object on something else, or the mask."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image

from ...errors import OptionError, UnknownNameError
from ..cutout import cutout
from ..replace import parse_background, replace

__all__ = ["LOOKS", "Look", "look"]

LOOKS = ("cutout", "mask", "replace")


@dataclass(frozen=True)
class Look:
    """One way to show a frame.

    Attributes:
        name: one of `LOOKS`.
        alpha: pictures are "RGBA", otherwise "RGB" or, of masks, "L".
        draw: (frame "RGB", mask "L") to the picture, all of one size.
    """

    name: str
    alpha: bool
    draw: Callable[[Image.Image, Image.Image], Image.Image]


def alone(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The mask itself."""
    return mask


def look(name: str, background: str | None = None) -> Look:
    """The look of that name. Raises UnknownNameError, and OptionError for a background that is missing or unused."""
    if name not in LOOKS:
        raise UnknownNameError("look", name, LOOKS)
    if name == "replace":
        if background is None:
            raise OptionError("--show replace needs --background: a colour, a picture or blur:SIGMA")
        return Look(name, False, partial(replace, background=parse_background(background)))
    if background is not None:
        raise OptionError(f"--show {name} has no background; --show replace takes --background {background}")
    return Look(name, True, cutout) if name == "cutout" else Look(name, False, alone)
