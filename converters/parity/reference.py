"""The yardstick: a checkpoint in Torch float64 at one size, and how far Torch's float32 strays from it."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo import arch
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES

from .. import sample_images
from ..embedded import EmbeddedPreprocessing
from ..options import LARGEST_SIDE, describe
from ..predictor import Predictor
from ..torch_predictor import RememberingPredictor, TorchPredictor
from . import records
from .float64 import Float64Network, Stopped

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FLAT", "Reference", "farthest", "in_batches", "picture", "picture_of"]

HERE, NETWORK = Path(__file__).parent, Path(arch.__file__).parent
EXACTLY = tuple(map(str, (HERE / "float64.py", NETWORK / "arch.py", NETWORK / "units.py")))  # what computes `exact` …
NOISE = (
    *EXACTLY,
    *map(str, (__file__, HERE.parent / "torch_predictor.py", NETWORK / "torch_model.py")),
)  # … and the rest
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
        self.seconds = 0.0
        self._turn = threading.RLock()
        self._exact: dict[str, np.ndarray] | None = None
        self._noise: dict[str, float] | None = None
        self._unwanted = threading.Event()
        shape = (1, checkpoint.arch.in_ch, *size)
        noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        photograph = checkpoint.arch.in_ch == 3
        first = PROFILES["paper"].tensor(self._first_image(), size) if photograph else noise[..., ::-1]
        self.inputs = np.concatenate([first, noise])
        self._pictured: dict[EmbeddedPreprocessing, list[tuple[np.ndarray, np.ndarray]]] = {}

    def compute(self) -> None:
        """Computes what every comparison needs, or waits for it, before a runtime takes memory of its own."""
        _ = self.exact, self.noise

    @contextlib.contextmanager
    def beside(self, done: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Within the block `exact` and `noise` are computed by a thread of their own; who asks for them waits.

        What fails there fails again where it is asked for. At the block's end what is not computed yet is given up.

        Args:
            done: called when both are there.
        """
        if self._recall():
            done()
            yield
            return
        Float64Network(self.checkpoint)  # says what is missing, before any work
        import torch  # noqa: F401 - two threads that import it at once can each meet the half of it

        def work() -> None:
            with contextlib.suppress(Exception):
                _ = self.noise
                done()

        thread = threading.Thread(target=work, name="reference")
        thread.start()
        try:
            yield
        finally:
            self._unwanted.set()
            thread.join()
            self._unwanted.clear()

    def _first_image(self) -> "Image.Image":
        """The first of `images`, without opening the others."""
        return self.images[0] if self.calibration else sample_images.bundled(sample_images.BUNDLED[0])

    @functools.cached_property
    def images(self) -> "list[Image.Image]":
        return sample_images.images(self.calibration)

    @functools.cached_property
    def photographs(self) -> list[np.ndarray]:
        return [PROFILES["paper"].tensor(image, self.size) for image in self.images]

    @property
    def exact(self) -> dict[str, np.ndarray]:
        """Of each output, float64 (2, out_ch, H, W)."""
        with self._turn:
            if self._exact is None:
                self._exact = self._recorded("exact") or self._computed("exact", self._exactly)
            return self._exact

    @property
    def single(self) -> RememberingPredictor:
        """Made anew when asked for: it is as large as the checkpoint, and seldom runs twice."""
        return RememberingPredictor(self.checkpoint)

    @property
    def noise(self) -> dict[str, float]:
        """Of each output, in whichever of Torch's two memory layouts strays farther.

        One layout alone is a matter of luck with kernels: on full-size u2net's hard weights at 96x128, side4 of the
        contiguous layout strays by 1.0e-5 with oneDNN's AVX2 kernels and by 1.4e-6 with its AVX-512 ones, on the same
        processor; channels last by 8.4e-6, TensorFlow, TFLite, OpenVINO and ncnn by 5e-6 to 1.1e-5 (2026-11-25).
        """
        with self._turn:
            if self._noise is None:
                exact = self.exact
                found = self._recorded("noise") or self._computed("noise", lambda: self._strays(exact))
                self._noise = {name: float(each) for name, each in found.items()}
            return self._noise

    def _recall(self) -> bool:
        """Whether all is known already, here or in the records."""
        with self._turn:
            self._exact = self._exact or self._recorded("exact")
            noise = self._recorded("noise") if self._noise is None else None
            self._noise = {name: float(each) for name, each in noise.items()} if noise else self._noise
            return self._exact is not None and self._noise is not None

    def _recorded(self, kind: str) -> dict[str, np.ndarray] | None:
        if not self._records(kind):
            return None
        maps = (len(self.inputs), self.checkpoint.arch.out_ch, *self.inputs.shape[2:])
        return records.fetched(
            self._key(kind), dict.fromkeys(self.checkpoint.arch.outputs, maps if kind == "exact" else ())
        )

    def _computed(self, kind: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """What `compute` says, which is recorded; its time is counted."""
        start = time.perf_counter()
        found = compute()
        self.seconds += time.perf_counter() - start
        if self._records(kind):
            records.kept(self._key(kind), found)
        return found

    def _records(self, kind: str) -> bool:
        """Whether such results are recorded: also not where the code has no files, in an archive, to be known by."""
        if self.dtype != "float64" or (kind == "noise" and not records.usual_arithmetic()):
            return False
        with contextlib.suppress(OSError):
            return bool(self._key(kind))
        return False

    def _key(self, kind: str) -> str:
        code = EXACTLY if kind == "exact" else NOISE
        return records.key_of(kind, code, self.checkpoint.digest, inputs=self.inputs, kernels=kind == "noise")

    def _strays(self, exact: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # One network and one picture at a time, as `exact`: maps of two take as much memory again. Not remembered,
        # since it is recorded.
        layouts = (TorchPredictor(self.checkpoint, channels_last=last) for last in (False, True))
        found = farthest([self._one_by_one(layout) for layout in layouts], exact)
        return {name: np.asarray(each, np.float64) for name, each in found.items()}

    def _exactly(self) -> dict[str, np.ndarray]:
        if self.dtype != "float64":
            return self._one_by_one(RememberingPredictor(self.checkpoint, self.dtype))
        return Float64Network(self.checkpoint, self._unwanted.is_set)(self.inputs)

    def _one_by_one(self, model: Predictor) -> dict[str, np.ndarray]:
        """Of the inputs; a full-size U²-Net takes 0.4 GB for each in float64."""
        results = []
        for x in self.inputs:
            if self._unwanted.is_set():
                raise Stopped
            results.append(model(x[None]))
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
    return {
        name: float(np.max([np.abs(each[name] - right).max() for each in results])) for name, right in exact.items()
    }


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
