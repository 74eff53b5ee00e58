"""A predictor and a profile: photograph in, mask out."""

from typing import Protocol

import numpy as np
from PIL import Image

from .errors import ArtifactError
from .preprocessing import Profile

__all__ = ["MaskSession", "RunnablePredictor"]


class RunnablePredictor(Protocol):
    """What a session needs of a predictor; see `converters.Predictor`."""

    size: tuple[int, int] | None
    batch: int | None
    outputs: tuple[str, ...]

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]: ...


class MaskSession:
    """Masks of photographs.

    Args:
        predictor: the model that runs; a session never goes and finds one.
        profile: how photographs are prepared; it belongs to the weights.
    """

    def __init__(self, predictor: RunnablePredictor, profile: Profile):
        self.predictor = predictor
        self.profile = profile
        self.size = predictor.size or (profile.size, profile.size)

    def predict(self, image: Image.Image) -> np.ndarray:
        """d0 of a photograph in any mode: (out_ch, h, w) float32 at the network's size."""
        x = self.profile.tensor(image, self.size)
        result = self.predictor(np.repeat(x, self.predictor.batch or 1, axis=0))
        name = "mask" if "mask" in result else self.predictor.outputs[0]
        return result[name][0]

    def mask(self, image: Image.Image) -> Image.Image:
        """Greyscale mask ("L") of the photograph's own size; of weights with classes their class map ("P").

        Raises ArtifactError when the model answers several classes and the profile does not know what they are.
        """
        output = self.predict(image)
        if len(output) == 1:
            return self.profile.mask(output[0], image.size)
        if len(output) != len(self.profile.palette):
            known = f"{len(self.profile.palette)} classes" if self.profile.palette else "one mask"
            raise ArtifactError(f"the model answers {len(output)} classes; profile {self.profile.name} reads {known}")
        return self.profile.class_map(output, image.size)
