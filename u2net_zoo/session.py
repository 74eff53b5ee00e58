"""A predictor and a profile: photograph in, mask out."""

from typing import Protocol

import numpy as np
from PIL import Image

from .errors import ArtifactError
from .preprocessing import Profile

__all__ = ["MaskSession", "RunnablePredictor"]


class Baked(Protocol):
    """What is in the graph of a model that takes pixels; see `converters.baking.Baking`."""

    @property
    def profile(self) -> Profile: ...

    @property
    def classes(self) -> int: ...


class RunnablePredictor(Protocol):
    """What a session needs of a predictor; see `converters.Predictor`."""

    size: tuple[int, int] | None
    default: tuple[int, int] | None
    batch: int | None
    outputs: tuple[str, ...]

    @property
    def baking(self) -> Baked | None: ...

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]: ...


class MaskSession:
    """Masks of photographs.

    Args:
        predictor: the model that runs; a session never goes and finds one.
        profile: how photographs are prepared; it belongs to the weights. A model that has a profile in its graph is
            fed by that one, so that nothing is normalised twice.
    """

    def __init__(self, predictor: RunnablePredictor, profile: Profile):
        self.predictor = predictor
        self.profile = predictor.baking.profile if predictor.baking else profile
        self.size = predictor.size or predictor.default or (self.profile.size, self.profile.size)

    def predict(self, image: Image.Image) -> np.ndarray:
        """d0 of a photograph in any mode: (out_ch, h, w) float32 at the network's size.

        Of a model with the profile in its graph: (1, h, w) uint8, grey levels or each pixel's class.
        """
        if self.predictor.baking:
            x = self.profile.pixels(image, self.size).transpose(2, 0, 1)[None]
        else:
            x = self.profile.tensor(image, self.size)
        result = self.predictor(np.repeat(x, self.predictor.batch or 1, axis=0))
        name = "mask" if "mask" in result else self.predictor.outputs[0]
        return result[name][0]

    def mask(self, image: Image.Image) -> Image.Image:
        """Greyscale mask ("L") of the photograph's own size; of weights with classes their class map ("P").

        Raises ArtifactError when the model answers several classes and the profile does not know what they are.
        """
        output = self.predict(image)
        if self.predictor.baking:
            classes = self.predictor.baking.classes > 1
            return (self.profile.labels if classes else self.profile.finished)(output[0], image.size)
        if len(output) == 1:
            return self.profile.mask(output[0], image.size)
        if len(output) != len(self.profile.palette):
            known = f"{len(self.profile.palette)} classes" if self.profile.palette else "one mask"
            raise ArtifactError(f"the model answers {len(output)} classes; profile {self.profile.name} reads {known}")
        return self.profile.class_map(output, image.size)
