"""Masks that do not flicker: an exponential moving average over time that starts anew at a cut."""

import numpy as np
from PIL import Image

from ...errors import OptionError

__all__ = ["CutDetector", "Smoother"]

THUMBNAIL = (64, 36)  # pixels on which two frames are compared: small enough to forget noise, large enough for a cut
CUT = 25.5  # grey levels of 255, a tenth: FFmpeg's `scdet` filter takes 10 % unless told otherwise


class CutDetector:
    """Says where the camera was changed.

    With d_t the mean absolute difference of two frames in a row, in grey levels, frame t is the first of a new scene
    when min(d_t, |d_t - d_(t-1)|) >= 25.5. The second term keeps a fast but steady motion from being taken for cuts.
    Source: FFmpeg's filter `scdet`, on thumbnails of 64x36.
    """

    def __init__(self) -> None:
        self.last: np.ndarray | None = None
        self.difference = 0.0

    def __call__(self, image: Image.Image) -> bool:
        """Whether a new scene begins with this frame, in any mode; never with the first one."""
        now = np.asarray(image.convert("L").resize(THUMBNAIL, Image.Resampling.BOX), np.float32)
        before, self.last = self.last, now
        if before is None:
            return False
        was, self.difference = self.difference, float(np.abs(now - before).mean())
        return min(self.difference, abs(self.difference - was)) >= CUT


class Smoother:
    """s_t = a s_(t-1) + (1 - a) m_t, and s_t = m_t for the first frame of a scene: an exponential moving average.

    After n frames a step has come through to 1 - a^n: with a = 0.5 to 94 % in four frames. Masks lag behind fast
    objects by about a / (1 - a) frames.

    Args:
        strength: a, in [0, 1); 0 leaves the masks as they are.

    Raises:
        OptionError: it is not in [0, 1). With 1 the first mask of a scene would stand for good.
    """

    def __init__(self, strength: float):
        if not 0 <= strength < 1:
            raise OptionError(f"--smooth {strength}: allowed is 0 (off) up to, but not, 1, such as 0.5")
        self.strength = strength
        self.is_cut = CutDetector()
        self.cuts = 0
        self.state: np.ndarray | None = None

    def __call__(self, image: Image.Image, mask: Image.Image) -> Image.Image:
        """The smoothed mask ("L") of a frame and of its own mask ("L"), which are of one size."""
        if not self.strength:
            return mask
        now = np.asarray(mask, np.float32)
        if self.is_cut(image):
            self.cuts, self.state = self.cuts + 1, None
        self.state = now if self.state is None else self.strength * self.state + (1 - self.strength) * now
        return Image.fromarray(np.rint(self.state).astype(np.uint8))
