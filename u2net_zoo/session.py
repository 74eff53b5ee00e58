"""A predictor and a profile: photograph in, mask out."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from .errors import ArtifactError
from .preprocessing import Profile

__all__ = ["MaskSession", "Preparation", "RunnablePredictor"]


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

    def share(self, lanes: int) -> int: ...


@dataclass(frozen=True)
class Preparation:
    """What a model is fed of a photograph and what its answer means: all of a session but the model itself.

    It can be pickled, so that other processes decode and finish photographs while one runs the model.

    Attributes:
        profile: how photographs are prepared.
        size: (H, W) that the network is fed.
        pixels: the profile is in the model's graph: it takes pixels and answers grey levels or classes.
        classes: how many classes such a graph tells apart; 1: a mask.
    """

    profile: Profile
    size: tuple[int, int]
    pixels: bool = False
    classes: int = 1

    def input(self, image: Image.Image) -> np.ndarray:
        """A photograph in any mode as the model takes it: (1, 3, H, W), float32, or uint8 where `pixels`."""
        if self.pixels:
            return self.profile.pixels(image, self.size).transpose(2, 0, 1)[None]
        return self.profile.tensor(image, self.size)

    def mask(self, output: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """Greyscale mask ("L") of size (W, H) from the model's answer, (out_ch, h, w); of classes their map ("P").

        Raises ArtifactError when the model answers several classes and the profile does not know what they are.
        """
        if self.pixels:
            return (self.profile.labels if self.classes > 1 else self.profile.finished)(output[0], size)
        if len(output) == 1:
            return self.profile.mask(output[0], size)
        if len(output) != len(self.profile.palette):
            known = f"{len(self.profile.palette)} classes" if self.profile.palette else "one mask"
            raise ArtifactError(f"the model answers {len(output)} classes; profile {self.profile.name} reads {known}")
        return self.profile.class_map(output, size)


class MaskSession:
    """Masks of photographs.

    Args:
        predictor: the model that runs; a session never goes and finds one.
        profile: how photographs are prepared; it belongs to the weights. A model that has a profile in its graph is
            fed by that one, so that nothing is normalised twice.
        size: (H, W) that the model is fed; by default its own, or the profile's where it takes any.
    """

    def __init__(self, predictor: RunnablePredictor, profile: Profile, *, size: tuple[int, int] | None = None):
        self.predictor = predictor
        baked = predictor.baking
        self.profile = baked.profile if baked else profile
        fed = size or predictor.size or predictor.default or (self.profile.size, self.profile.size)
        self.preparation = Preparation(self.profile, fed, bool(baked), baked.classes if baked else 1)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) that the model is fed."""
        return self.preparation.size

    def answer(self, x: np.ndarray) -> np.ndarray:
        """d0 of one prepared photograph (`Preparation.input`), (out_ch, h, w)."""
        result = self.predictor(np.repeat(x, self.predictor.batch or 1, axis=0))
        name = "mask" if "mask" in result else self.predictor.outputs[0]
        return result[name][0]

    def predict(self, image: Image.Image) -> np.ndarray:
        """d0 of a photograph in any mode: (out_ch, h, w) float32 at the network's size.

        Of a model with the profile in its graph: (1, h, w) uint8, grey levels or each pixel's class.
        """
        return self.answer(self.preparation.input(image))

    def mask(self, image: Image.Image) -> Image.Image:
        """The photograph's mask, of its own size; see `Preparation.mask`."""
        return self.preparation.mask(self.predict(image), image.size)
