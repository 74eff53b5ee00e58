"""What is made of a frame and its mask: the object with alpha, the object on something else, or the mask."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor, ImageFilter, ImageOps

from ...errors import OptionError, UnknownNameError
from ...preprocessing import read_image

__all__ = ["LOOKS", "Look", "backdrop", "look"]

LOOKS = ("cutout", "mask", "replace")
Backdrop = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Look:
    """One way to show a frame.

    Attributes:
        name: one of `LOOKS`.
        alpha: pictures are "RGBA", otherwise "RGB".
        draw: (frame "RGB", mask "L") to the picture, all of one size.
    """

    name: str
    alpha: bool
    draw: Callable[[Image.Image, Image.Image], Image.Image]


def cut_out(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The frame with the mask as its alpha, "RGBA"; the colours under it stay as they are (straight alpha)."""
    picture = image.copy()
    picture.putalpha(mask)
    return picture


def on(backdrop: Backdrop) -> Callable[[Image.Image, Image.Image], Image.Image]:
    """The object before another background: frame * m + background * (1 - m), "RGB"."""
    return lambda image, mask: Image.composite(image, backdrop(image), mask)


def alone(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The mask as a grey picture, "RGB"."""
    return mask.convert("RGB")


def look(name: str, background: str | None = None) -> Look:
    """The look of that name. Raises UnknownNameError, and OptionError for a background that is missing or unused."""
    if name not in LOOKS:
        raise UnknownNameError("look", name, LOOKS)
    if name == "replace":
        if background is None:
            raise OptionError("--show replace needs --background: a colour, a picture or blur:SIGMA")
        return Look(name, False, on(backdrop(background)))
    if background is not None:
        raise OptionError(f"--show {name} has no background; --show replace takes --background {background}")
    return Look(name, True, cut_out) if name == "cutout" else Look(name, False, alone)


def backdrop(text: str) -> Backdrop:
    """`blur:12`, a picture's path or a colour as what stands behind an object: frame in, background of its size out.

    Raises:
        OptionError: it is none of these. ImageError: the picture cannot be read.
    """
    if text.startswith("blur:"):
        return blurred(text)
    if Path(text).is_file():
        return covering(read_image(text).convert("RGB"))
    try:
        colour = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise OptionError(
            f"background {text!r}: allowed are a colour (white, #00b140), the path of a picture, or blur:SIGMA"
        ) from None
    return lambda image: Image.new("RGB", image.size, colour)


def blurred(text: str) -> Backdrop:
    """The frame itself under a Gaussian whose sigma, in pixels, follows the colon. Raises OptionError."""
    try:
        sigma = float(text.removeprefix("blur:"))
    except ValueError:
        sigma = -1.0
    if not 0 < sigma <= 1000:  # also not a number
        raise OptionError(f"background {text!r}: the blur's sigma is a number of pixels above 0, such as blur:12")
    blur = ImageFilter.GaussianBlur(sigma)
    return lambda image: image.filter(blur)


def covering(picture: Image.Image) -> Backdrop:
    """A picture that covers the frame, centred, its proportions kept; fitted once, as frames are of one size."""
    fitted: dict[tuple[int, int], Image.Image] = {}

    def behind(image: Image.Image) -> Image.Image:
        if image.size not in fitted:
            fitted[image.size] = ImageOps.fit(picture, image.size, Image.Resampling.LANCZOS)
        return fitted[image.size]

    return behind
