"""What a model without a profile in its graph wants of a photograph. Loads nothing: command lines list the names."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["INPUTS", "NORMALISED", "InputConvention"]


@dataclass(frozen=True)
class InputConvention:
    """What a model without a profile in its graph wants of a photograph.

    Attributes:
        name: for people.
        scale: what a pixel of full brightness is, where the model normalises pixels itself; None: it takes the
            profile's normalised tensor.
        bgr: blue comes first.
    """

    name: str
    scale: float | None
    bgr: bool = False

    def of(self, pixels: "np.ndarray") -> "np.ndarray":
        """uint8 pixels (H, W, 3) as such a model takes them: (1, 3, H, W) float32."""
        import numpy as np

        channels = pixels[..., ::-1] if self.bgr else pixels
        return np.ascontiguousarray(channels.transpose(2, 0, 1)[None] * np.float32((self.scale or 255.0) / 255))


INPUTS = {
    "normalised": InputConvention("normalised tensor", None),
    "pixels": InputConvention("pixels 0..255", 255.0),
    "unit": InputConvention("pixels 0..1", 1.0),
    "pixels-bgr": InputConvention("pixels 0..255, blue first", 255.0, bgr=True),
    "unit-bgr": InputConvention("pixels 0..1, blue first", 1.0, bgr=True),
}
NORMALISED = INPUTS["normalised"]
