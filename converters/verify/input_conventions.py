"""Which input a file takes: the normalised tensor, or pixels that it normalises itself. Worked out, not guessed."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from u2net_zoo.arch import Architecture
from u2net_zoo.conventions import INPUTS, InputConvention
from u2net_zoo.preprocessing import Profile

from .. import sample_images
from ..mask_errors import EIGHT_BITS
from ..parity.outputs import Renamed, difference
from ..parity.reference import Reference, farthest, in_batches
from ..predictor import Outputs, Predictor, WrappedPredictor
from .diagnosis import Evidence
from .faulty_network import Sample
from .result import histogram

__all__ = [
    "INPUT_CONVENTIONS",
    "CachedPredictor",
    "PixelInputAdapter",
    "PixelReference",
    "Run",
    "coloured",
    "peak_of",
    "runs",
]


LAST_DIGITS = 2.4e-7  # of numbers up to 2.7 in float32: (pixel / 255 - mean) / deviation in another order
HALF_A_LEVEL = 0.5 / 255  # what rounding to grey levels leaves at most in the mean
CLEARLY = 0.5  # a convention that leaves no more than this part of what another one leaves
INPUT_CONVENTIONS = tuple(takes for takes in INPUTS.values() if not takes.bgr)


class PixelReference(Reference):
    """The reference for files that take pixels: its inputs are photographs of 8 bits at the network's size alone.

    `peaks` tells what each photograph was divided by, which the tensor does not.
    """

    def __init__(self, reference: Reference, profile: Profile):
        super().__init__(reference.checkpoint, reference.size, dtype=reference.dtype)
        self.profile = profile
        self.eight_bits = [resized(image, reference.size) for image in sample_images.images() if coloured(image)]
        self.peaks = [peak_of(np.asarray(picture), profile) for picture in self.eight_bits]
        self.inputs = np.concatenate(self.photographs[:2])

    @functools.cached_property
    def noise(self) -> dict[str, float]:
        """As ever, or what the last digits of the normalised input make, which each file works out in its own order."""
        signs = np.random.default_rng(0).choice(np.array([-LAST_DIGITS, LAST_DIGITS], np.float32), self.inputs.shape)
        other = farthest([in_batches(self.single, self.inputs + signs)], self.exact)
        return {name: max(noise, other[name]) for name, noise in super().noise.items()}

    @functools.cached_property
    def photographs(self) -> list[np.ndarray]:
        return [self.profile.tensor(picture, self.size) for picture in self.eight_bits]

    @property
    def samples(self) -> list[Sample]:
        return [Sample(x, peak, self.profile) for x, peak in zip(self.photographs, self.peaks, strict=True)]


def peak_of(pixels: np.ndarray, profile: Profile) -> float:
    """What a profile divides pixels (uint8) by, of 255."""
    return float(pixels.max()) / 255 if profile.by_maximum else 1.0


def coloured(image: Image.Image) -> bool:
    """Grey photographs do not tell which channel is which."""
    return bool(np.ptp(np.asarray(image.resize((32, 32))), axis=2).mean() > 1)


class PixelInputAdapter(WrappedPredictor):
    """A predictor that takes pixels, called as one that takes the normalised tensor: the normalisation is undone.

    Args:
        scale: what a pixel of full brightness is.
        samples: photographs of which it is known what they were divided by; others count as not divided.
    """

    def __init__(self, predictor: Predictor, profile: Profile, scale: float, samples: list[Sample]):
        super().__init__(predictor)
        self.profile, self.scale = profile, scale
        self.peaks = {sample.x[0].tobytes(): sample.peak for sample in samples}

    def compute(self, x: np.ndarray) -> Outputs:
        return self.predictor(self._pixels(x))

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        return self.predictor.taps(self._pixels(x), arch)

    def _pixels(self, x: np.ndarray) -> np.ndarray:
        rows = [Sample(row[None], profile=self.profile).scaled * self.peaks.get(row.tobytes(), 1.0) for row in x]
        levels = np.clip(np.rint(np.concatenate(rows) * 255), 0, 255)
        return np.ascontiguousarray(levels * (self.scale / 255), np.float32)


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size[::-1], Image.Resampling.BILINEAR)


class Run:
    """A file under one input convention: its answers beside the reference's.

    Attributes:
        evidence: both for each of the reference's inputs.
        names, largest, mean: see `difference`, over all of them.

    Args:
        raw: the file, wrapped so that it takes the network's tensor.
        samples: what the reference's inputs are.
    """

    def __init__(self, raw: Predictor, reference: Reference, convention: InputConvention, samples: Sequence[Sample]):
        self.raw, self.reference, self.convention = raw, reference, convention
        self.once = CachedPredictor(raw)
        every = in_batches(self.once, reference.inputs)
        self.names, self.largest, self.mean = difference(every, reference.exact)
        self.rounding = HALF_A_LEVEL if raw.precision == EIGHT_BITS else 0.0
        self.evidence = [
            Evidence(samples[n], _row(every, n), _row(reference.exact, n), self.rounding)
            for n in range(len(reference.inputs))
        ]

    @property
    def distance(self) -> float:
        """Low for the file's own convention, where it shows what is wrong with itself; pixels need a clear lead."""
        return round(
            self.mean if self.convention.scale is None else self.mean / CLEARLY, 4
        )  # scales may not matter to it

    def named(self, names: dict[str, str]) -> Predictor:
        """The file under the network's names; what it was asked before is remembered."""
        return Renamed(self.once, names, self.reference.checkpoint.arch)

    def histogram(self) -> tuple[int, ...]:
        """Of the first output's absolute error, by decades."""
        predictor = self.named(self.names)
        name = predictor.outputs[0]
        return histogram(in_batches(predictor, self.reference.inputs)[name], self.reference.exact[name])


def _row(maps: Outputs, n: int) -> Outputs:
    return {name: value[n : n + 1] for name, value in maps.items()}


def runs(predictor: Predictor, reference: Reference, profile: Profile) -> Iterator[Run]:
    """The file under each input convention, the normalised tensor first."""
    samples = [Sample(x[None], profile=profile) for x in reference.inputs]
    yield Run(predictor, reference, INPUT_CONVENTIONS[0], samples)
    if reference.checkpoint.arch.in_ch != 3:
        return
    other = PixelReference(reference, profile)
    for convention in INPUT_CONVENTIONS[1:]:
        wrapped = PixelInputAdapter(predictor, profile, convention.scale or 1.0, other.samples)
        yield Run(wrapped, other, convention, other.samples)


class CachedPredictor(WrappedPredictor):
    """A predictor that runs the same tensor once, one picture at a time: its memory is then what a user sees."""

    def __init__(self, predictor: Predictor):
        super().__init__(predictor)
        self.batch = predictor.batch or 1
        self.answers: dict[bytes, Outputs] = {}

    def compute(self, x: np.ndarray) -> Outputs:
        key = x.tobytes()
        if key not in self.answers:
            self.answers[key] = self.predictor(x)
        return self.answers[key]
