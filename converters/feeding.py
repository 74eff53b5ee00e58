"""What a file wants to be fed: the normalised tensor, or pixels that it normalises itself. Worked out, not guessed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from u2net_zoo.arch import Architecture
from u2net_zoo.preprocessing import Profile

from .base import Predictor
from .bent import Answer, Sample
from .parity import Reference
from .quantise import photographs

__all__ = ["FEEDINGS", "Feeding", "PixelReference", "TakesPixels", "coloured", "peak_of"]


@dataclass(frozen=True)
class Feeding:
    """One way to feed a photograph.

    Attributes:
        name: for people.
        scale: what a pixel of full brightness is; None where the normalised tensor is fed.
    """

    name: str
    scale: float | None


FEEDINGS = (Feeding("normalised tensor", None), Feeding("pixels 0..255", 255.0), Feeding("pixels 0..1", 1.0))


class PixelReference(Reference):
    """The reference for files that take pixels: its inputs are photographs of 8 bits at the network's size alone.

    `peaks` tells what each photograph was divided by, which the tensor does not.
    """

    def __init__(self, reference: Reference, profile: Profile):
        super().__init__(reference.checkpoint, reference.size)
        self.profile = profile
        pictures = [resized(image, reference.size) for image in photographs.images() if coloured(image)]
        self.__dict__["photographs"] = [profile.tensor(picture, reference.size) for picture in pictures]
        self.peaks = [peak_of(np.asarray(picture), profile) for picture in pictures]
        self.inputs = np.concatenate(self.photographs[:2])

    @property
    def samples(self) -> list[Sample]:
        return [Sample(x, peak, self.profile) for x, peak in zip(self.photographs, self.peaks, strict=True)]


def peak_of(pixels: np.ndarray, profile: Profile) -> float:
    """What a profile divides pixels (uint8) by, of 255."""
    return float(pixels.max()) / 255 if profile.by_maximum else 1.0


def coloured(image: Image.Image) -> bool:
    """Grey photographs do not tell which channel is which."""
    return bool(np.ptp(np.asarray(image.resize((32, 32))), axis=2).mean() > 1)


class TakesPixels(Predictor):
    """A predictor that takes pixels, fed as one that takes the normalised tensor: the normalisation is undone.

    Args:
        scale: what a pixel of full brightness is.
        samples: photographs of which it is known what they were divided by; others count as not divided.
    """

    def __init__(self, predictor: Predictor, profile: Profile, scale: float, samples: list[Sample]):
        self.predictor, self.profile, self.scale = predictor, profile, scale
        self.size, self.batch, self.outputs = predictor.size, predictor.batch, predictor.outputs
        self.peaks = {sample.x[0].tobytes(): sample.peak for sample in samples}

    def __call__(self, x: np.ndarray) -> Answer:
        return self.predictor(self._pixels(x))

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        return self.predictor.taps(self._pixels(x), arch)

    def _pixels(self, x: np.ndarray) -> np.ndarray:
        rows = [Sample(row[None], profile=self.profile).scaled * self.peaks.get(row.tobytes(), 1.0) for row in x]
        levels = np.clip(np.rint(np.concatenate(rows) * 255), 0, 255)
        return np.ascontiguousarray(levels * (self.scale / 255), np.float32)


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size[::-1], Image.Resampling.BILINEAR)
