"""A predictor and a profile: photograph in, mask out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from .conventions import NORMALISED, InputConvention
from .errors import ArtifactError
from .preprocessing import Profile

__all__ = ["MaskSession", "Preparation", "RunnablePredictor"]


class Embedded(Protocol):
    """What is in the graph of a model that takes pixels; see `converters.embedded.EmbeddedPreprocessing`."""

    @property
    def profile(self) -> Profile: ...

    @property
    def classes(self) -> int: ...


class RunnablePredictor(Protocol):
    """What a session needs of a predictor; see `converters.Predictor`."""

    size: tuple[int, int] | None
    default: tuple[int, int] | None
    batch: int | None
    together: int
    outputs: tuple[str, ...]

    @property
    def embedded(self) -> Embedded | None: ...

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]: ...

    def share(self, lanes: int) -> int: ...


def _mask_among(result: dict[str, np.ndarray], names: Sequence[str], size: tuple[int, ...]) -> str:
    """Which of a model's outputs is d0: `mask`; in other makers' files the first map of the input's size.

    Features beside the maps have more channels or another size; logits beside probabilities leave [0, 1].
    """
    if "mask" in result or len(names) == 1:
        return "mask" if "mask" in result else names[0]
    maps = [name for name in names if result[name].ndim == 4 and result[name].shape[2:] == size] or list(names)
    fewest = min(result[name].shape[1] for name in maps)
    maps = [name for name in maps if result[name].shape[1] == fewest]
    return next((name for name in maps if result[name].min() >= 0 and result[name].max() <= 1), maps[0])


@dataclass(frozen=True)
class Preparation:
    """The input that a model gets of a photograph, and what its answer means: all of a session but the model itself.

    It can be pickled, so that other processes decode and finish photographs while one runs the model.

    Attributes:
        profile: how photographs are prepared.
        size: (H, W) of the network's input.
        pixels: the profile is in the model's graph: it takes pixels and answers grey levels or classes.
        classes: how many classes such a graph tells apart; 1: a mask.
        takes: the input convention of a model without a profile in its graph.
    """

    profile: Profile
    size: tuple[int, int]
    pixels: bool = False
    classes: int = 1
    takes: InputConvention = NORMALISED

    def input(self, image: Image.Image) -> np.ndarray:
        """A photograph in any mode as the model takes it: (1, 3, H, W), float32, or uint8 where `pixels`."""
        if self.pixels:
            return self.profile.pixels(image, self.size).transpose(2, 0, 1)[None]
        if self.takes.scale is not None:
            return self.takes.of(self.profile.pixels(image, self.size))
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
    """Masks of photographs. Threads may share a session: every mask is the one that it gives alone.

    Args:
        predictor: the model that runs; a session never goes and finds one.
        profile: how photographs are prepared; it belongs to the weights. A model that has a profile in its graph is
            prepared by that one, so that nothing is normalised twice.
        size: (H, W) of the model's input; by default its own, or the profile's where it takes any.
        takes: what a model without a profile in its graph wants of a photograph.
    """

    def __init__(
        self,
        predictor: RunnablePredictor,
        profile: Profile,
        *,
        size: tuple[int, int] | None = None,
        takes: InputConvention = NORMALISED,
    ):
        self.predictor = predictor
        embedded = predictor.embedded
        self.profile = embedded.profile if embedded else profile
        fed = size or predictor.size or predictor.default or (self.profile.size, self.profile.size)
        classes = embedded.classes if embedded else 1
        self.preparation = Preparation(self.profile, fed, bool(embedded), classes, takes)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the model's input."""
        return self.preparation.size

    def answer(self, x: np.ndarray) -> np.ndarray:
        """d0 of one prepared photograph (`Preparation.input`), (out_ch, h, w)."""
        return self.answers([x])[0]

    def answers(self, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same of several, in one call; by a model with a fixed batch one photograph after the other."""
        if len(xs) > 1 and self.predictor.batch is not None:
            return [self.answer(x) for x in xs]
        result = self.predictor(np.concatenate(xs) if len(xs) > 1 else np.repeat(xs[0], self.predictor.batch or 1, 0))
        return list(result[_mask_among(result, self.predictor.outputs or tuple(result), xs[0].shape[2:])][: len(xs)])

    def predict(self, image: Image.Image) -> np.ndarray:
        """d0 of a photograph in any mode: (out_ch, h, w) float32 at the network's size.

        Of a model with the profile in its graph: (1, h, w) uint8, grey levels or each pixel's class.
        """
        return self.answer(self.preparation.input(image))

    def mask(self, image: Image.Image) -> Image.Image:
        """The photograph's mask, of its own size; see `Preparation.mask`."""
        return self.preparation.mask(self.predict(image), image.size)
