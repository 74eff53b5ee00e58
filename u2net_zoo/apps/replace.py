"""`replace`: the object before another background."""

import functools
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageFilter, ImageOps

from ..errors import OptionError
from ..preprocessing import read_image, to_rgb
from .bands import bands, floats, to_bytes
from .base import Result
from .foreground import object_colours
from .refine import RefinedApplication, as_rgb, foreground_of, with_own_alpha

__all__ = ["Background", "Replace", "parse_background", "replace"]

BLUR = "blur:"
COLOURS = "|".join(ImageColor.colormap)
WORDS = rf"(?i:{COLOURS})|#(?:[0-9a-fA-F]{{3,4}}|[0-9a-fA-F]{{6}}|[0-9a-fA-F]{{8}})|blur:[0-9.]+"  # no file's path
Background = Image.Image | Path | float | tuple[int, ...]


def parse_background(text: str) -> Background:
    """What `--background` names: a colour (as a tuple), `blur:SIGMA` (as a number) or a picture (as a path).

    Raises OptionError, also for a colour with transparency.
    """
    if text.startswith(BLUR):
        return _parse_sigma(text)
    try:
        return _check_opaque(text, *ImageColor.getrgb(text))
    except ValueError:
        pass
    if not text or not os.path.isfile(text):
        raise OptionError(
            f"background {text[:80]!r}: neither a file nor a colour; allowed are a picture, a colour such as white or "
            "#20c0a0, and blur:SIGMA such as blur:20"
        )
    return Path(text)


def _check_opaque(text: str, red: int, green: int, blue: int, alpha: int = 255) -> tuple[int, int, int]:
    if alpha != 255:
        raise OptionError(
            f"background {text!r}: results are opaque; name the colour without transparency, "
            f"#{red:02x}{green:02x}{blue:02x}"
        )
    return red, green, blue


def _parse_sigma(text: str) -> float:
    try:
        sigma = float(text.removeprefix(BLUR))
    except ValueError:
        sigma = math.nan
    if not 0 <= sigma <= 1000:
        raise OptionError(f"background {text!r}: allowed is blur:SIGMA with 0 to 1000 pixels, such as blur:20")
    return sigma


def replace(image: Image.Image, mask: Image.Image, background: Background | str) -> Image.Image:
    """The object before another background, "RGB" of the photograph's size.

    Args:
        image: in any mode; the new background shows through its own transparency too.
        mask: "L", or a class map "P": everything but the background then.
        background: a picture, which covers the whole (scaled, centred, its overhang cut off); a colour; a number: the
            photograph's own background, blurred by that many pixels without the object's colours running into it; or
            the text that `parse_background` reads.

    The object's colours at its edge are estimated (`foreground.object_colours`): nothing of the old background stays.

    Raises:
        OptionError: the text is no background. ImageError: the picture cannot be read.
    """
    background = parse_background(background) if isinstance(background, str) else background
    photograph, mask = as_rgb(image), foreground_of(mask)
    result = _make_background(photograph, mask, background)
    result.paste(object_colours(photograph, mask), mask=with_own_alpha(mask, image))
    return result


def _make_background(photograph: Image.Image, mask: Image.Image, background: Background) -> Image.Image:
    """The background at the photograph's size, "RGB", to be painted on."""
    if isinstance(background, Path):
        return _fit_file(background, background.stat().st_mtime_ns, photograph.size).copy()
    if isinstance(background, Image.Image):
        return _fit(background, photograph.size)
    if isinstance(background, tuple):
        return Image.new("RGB", photograph.size, background)
    return _blur(photograph, mask, background)


@functools.lru_cache(maxsize=1)  # a film's frames and a folder's photographs are often of one size
def _fit_file(path: Path, changed: int, size: tuple[int, int]) -> Image.Image:
    return _fit(read_image(path), size)


def _fit(background: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(to_rgb(background), size, Image.Resampling.LANCZOS)


def _blur(photograph: Image.Image, mask: Image.Image, sigma: float) -> Image.Image:
    """The background alone, blurred: a blur of (1 - a) I over a blur of 1 - a."""
    if sigma == 0:
        return photograph.copy()
    kernel, rest = ImageFilter.GaussianBlur(sigma), ImageChops.invert(mask)
    colours = Image.composite(photograph, Image.new("RGB", photograph.size), rest).filter(kernel)
    weight = rest.filter(kernel)
    for box in bands(photograph.size):
        seen = floats(colours.crop(box)) / np.maximum(floats(weight.crop(box)), 1 / 255)[..., None]
        colours.paste(Image.fromarray(to_bytes(seen)), box)
    return colours


@dataclass(frozen=True)
class Replace(RefinedApplication):
    """Pictures of the object before another background."""

    name = "replace"
    title = "Put another background behind the main object."
    examples = {
        "A plain colour": "u2zoo replace cat.jpg -o white.png --background white",
        "Another picture": "u2zoo replace cat.jpg -o moved.jpg --background beach.jpg",
        "Blur the background": "u2zoo replace photos -o blurred --background blur:12",
    }

    background: str = field(
        default="white",
        metadata={"help": "A picture, a colour such as white or #20c0a0, or blur:SIGMA.", "file": True, "words": WORDS},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(background := parse_background(self.background), Path):
            read_image(background)  # so that it is refused now, not with every photograph

    def make(self, image: Image.Image, mask: Image.Image) -> Result:
        return Result({"": replace(image, mask, self.background)}, {"empty": mask.getbbox() is None})
