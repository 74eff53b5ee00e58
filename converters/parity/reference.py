"""The yardstick: a checkpoint in Torch float64 at one size, and how far Torch's float32 strays from it."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES

from .. import sample_images
from ..embedded import EmbeddedPreprocessing
from ..options import LARGEST_SIDE, describe
from ..predictor import Predictor
from ..torch_predictor import RememberingPredictor

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FLAT", "Reference", "farthest", "in_batches", "picture", "picture_of"]

FLAT = 0.02  # outputs that vary less than this prove little: a freshly initialised network answers 0.48 everywhere


class Reference:
    """The float64 outputs of a checkpoint at one size, and how far Torch float32 strays from them: the noise floor.

    Inputs are two tensors (1, C, H, W): a photograph, where the network has three input channels, and noise.

    Args:
        dtype: `float32` where it is enough that a file agrees with Torch: a fifth of the time.
    """

    def __init__(
        self, checkpoint: Checkpoint, size: tuple[int, int], calibration: Path | None = None, dtype: str = "float64"
    ):
        if any(not 1 <= side <= LARGEST_SIDE for side in size):
            raise OptionError(f"size {describe(size)}: sides are whole numbers from 1 to {LARGEST_SIDE}")
        self.checkpoint = checkpoint
        self.size = size
        self.calibration = calibration
        self.dtype = dtype
        shape = (1, checkpoint.arch.in_ch, *size)
        noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        photograph = checkpoint.arch.in_ch == 3
        first = PROFILES["paper"].tensor(self.images[0], size) if photograph else noise[..., ::-1]
        self.inputs = np.concatenate([first, noise])
        self._pictured: dict[EmbeddedPreprocessing, list[tuple[np.ndarray, np.ndarray]]] = {}

    def compute(self) -> None:
        """Computes what every comparison needs now, before exporters and runtimes take their memory."""
        _ = self.noise  # and with it `exact`

    @functools.cached_property
    def images(self) -> "list[Image.Image]":
        return sample_images.images(self.calibration)

    @functools.cached_property
    def photographs(self) -> list[np.ndarray]:
        return [PROFILES["paper"].tensor(image, self.size) for image in self.images]

    @functools.cached_property
    def exact(self) -> dict[str, np.ndarray]:
        return self._one_by_one(RememberingPredictor(self.checkpoint, self.dtype))

    @property
    def single(self) -> RememberingPredictor:
        """Made anew when asked for: it is as large as the checkpoint, and seldom runs twice."""
        return RememberingPredictor(self.checkpoint)

    @functools.cached_property
    def noise(self) -> dict[str, float]:
        """Of each output, in whichever of Torch's two memory layouts strays farther.

        One layout alone is a matter of luck with kernels: on full-size u2net's hard weights at 96x128, side4 of the
        contiguous layout strays by 1.0e-5 with oneDNN's AVX2 kernels and by 1.4e-6 with its AVX-512 ones, on the same
        processor; channels last by 8.4e-6, TensorFlow, TFLite, OpenVINO and ncnn by 5e-6 to 1.1e-5 (2026-11-25).
        """
        layouts = (self.single, RememberingPredictor(self.checkpoint, channels_last=True))
        return farthest([in_batches(layout, self.inputs) for layout in layouts], self.exact)

    def _one_by_one(self, model: Predictor) -> dict[str, np.ndarray]:
        """Of the inputs; a full-size U²-Net takes 1.5 GB for each in float64."""
        results = [model(x[None]) for x in self.inputs]
        return {name: np.concatenate([result[name] for result in results]) for name in model.outputs}

    @functools.cached_property
    def pictures(self) -> np.ndarray:
        """What masks are compared on: the photographs (N, 3, H, W), noise where the network takes none."""
        return np.concatenate(self.photographs) if self.checkpoint.arch.in_ch == 3 else self.inputs

    @functools.cached_property
    def masks(self) -> np.ndarray:
        return self.maps("mask")

    def maps(self, name: str) -> np.ndarray:
        """One output of Torch's float32 for each of `pictures`; answers are remembered."""
        single = self.single
        return np.concatenate([single(x[None])[name] for x in self.pictures])

    def pictured(self, embedded: EmbeddedPreprocessing) -> list[tuple[np.ndarray, np.ndarray]]:
        """The photographs as 8-bit pictures (H, W, 3), and what Torch and the profile make of each, uint8 (H, W)."""
        key = replace(embedded, precision="fp32")
        if key not in self._pictured:
            single = self.single
            pixels = [embedded.profile.pixels(image, self.size) for image in self.images]
            self._pictured[key] = [(each, picture_of(single, embedded, each)) for each in pixels]
        return self._pictured[key]

    @property
    def flat(self) -> bool:
        return float(np.ptp(self.exact["mask"])) < FLAT


def farthest(results: Sequence[dict[str, np.ndarray]], exact: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest absolute difference from `exact` of each output, over several results."""
    return {name: max(float(np.abs(each[name] - right).max()) for each in results) for name, right in exact.items()}


def in_batches(predictor: Predictor, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Runs all inputs in the batches that the predictor takes; a last batch that is short is filled up."""
    step = predictor.batch or len(inputs)
    parts = []
    for start in range(0, len(inputs), step):
        wanted = [min(n, len(inputs) - 1) for n in range(start, start + step)]
        parts.append({name: value.copy() for name, value in predictor(inputs[wanted]).items()})
    return {name: np.concatenate([part[name] for part in parts])[: len(inputs)] for name in parts[0]}


def picture(predictor: Predictor, pixels: np.ndarray) -> np.ndarray:
    """What a predictor of pictures answers to uint8 pixels (H, W, 3): uint8 (H, W)."""
    return in_batches(predictor, pixels.transpose(2, 0, 1)[None])["mask"][0, 0]


def picture_of(model: Predictor, embedded: EmbeddedPreprocessing, pixels: np.ndarray) -> np.ndarray:
    """What the profile makes of Torch's d0 for uint8 pixels (H, W, 3): uint8 (H, W)."""
    return embedded.finished(model(embedded.profile.normalised(pixels))["mask"][0])
