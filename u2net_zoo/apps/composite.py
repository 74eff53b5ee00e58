"""`composite`: a pencil drawing over the blurred photograph."""

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..errors import OptionError
from .base import Application, Result
from .optional import scikit_image, scipy
from .refine import as_rgb, check_share

__all__ = ["Composite", "composite"]

TINY = 1e-8  # against 0/0 for a drawing that is black throughout


def composite(image: Image.Image, drawing: Image.Image, *, sigma: float = 20.0, alpha: float = 0.5) -> Image.Image:
    """`alpha` of the blurred photograph and 1 - `alpha` of the drawing, "RGB" of the photograph's size.

    The formula of the authors' u2net_portrait_composite.py: the photograph under a Gaussian (nearest pixels beyond the
    border, cut off at four sigma, each channel by itself); the drawing brought to its size with order 2 and divided by
    its maximum; and, as imageio writes a picture of floats that exceeds [0, 1], the result stretched from its least to
    its largest value. About 40 bytes of memory a pixel.

    Order 2 is today's scikit-image's, a spline; the one of 0.14, which the authors pin, was later withdrawn as wrong.

    Args:
        image: in any mode. drawing: "L" of any size, best the network's own 512 by 512.
        sigma: of the Gaussian in pixels, at least 0. alpha: the photograph's share, from 0 to 1.
    """
    blurred = scipy("composite").gaussian_filter
    pixels = np.asarray(as_rgb(image))
    lines = _resize(np.asarray(drawing.convert("L"), np.float32), pixels.shape[:2])
    lines *= np.float32(255 * (1 - alpha) / (float(lines.max()) + TINY))
    result = np.empty(pixels.shape, np.float32)
    for channel in range(3):
        plane = pixels[..., channel].astype(np.float32)
        result[..., channel] = blurred(plane, sigma, mode="nearest", truncate=4.0) * np.float32(alpha) + lines
    return Image.fromarray(_stretch(result))


def _resize(drawing: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    if drawing.shape == size:
        return drawing.copy()
    resize = scikit_image("composite").resize
    return resize(drawing, size, order=2, mode="constant", anti_aliasing=False, preserve_range=True)


def _stretch(array: np.ndarray) -> np.ndarray:
    """0..255 from the least to the largest value, rounded as imageio does, uint8; a flat picture keeps its value."""
    low, high = float(array.min()), float(array.max())
    if high > low:
        array -= np.float32(low)
        array *= np.float32(255 / (high - low))
        array += np.float32(0.499999999)
    return np.clip(array, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Composite(Application):
    """Photographs that look half drawn.

    The authors resize the network's answer, 512 by 512, with order 2; here the drawing arrives at the photograph's size
    in 8 bits, resized bilinearly as for `portrait`. On photographs of 512 by 512 that is the same but for the rounding;
    on one of 900 by 700 the results are 1.5 of 255 apart in the mean, up to 32 along strokes (sigma 20, alpha 0.5).
    """

    name = "composite"
    title = "Lay a pencil portrait over a blurred photograph."
    examples = {
        "A drawing over the photograph": "u2zoo composite person.jpg -o composite.png",
        "More of the photograph, less blurred": "u2zoo composite person.jpg -o composite.png --alpha 0.7 --sigma 4",
    }
    model = "u2net_portrait"

    sigma: float = field(default=20.0, metadata={"help": "How far the photograph is blurred, in pixels."})
    alpha: float = field(default=0.5, metadata={"help": "The photograph's share of the result, from 0 to 1."})

    def __post_init__(self) -> None:
        check_share("--alpha", self.alpha)
        if not (math.isfinite(self.sigma) and 0 <= self.sigma <= 100):
            raise OptionError(f"--sigma {self.sigma}: allowed are 0 to 100 pixels")

    def suffix(self) -> str:
        """The authors' habit: `_sigma_20.0_alpha_0.5_composite`."""
        return f"_sigma_{float(self.sigma)}_alpha_{float(self.alpha)}_composite"

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        return Result({"": composite(image, mask, sigma=self.sigma, alpha=self.alpha)})
