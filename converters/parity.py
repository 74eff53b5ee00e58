"""Is the artifact the network? Compares a predictor with the float64 Torch reference; returns a report."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, OptionError
from u2net_zoo.preprocessing import PROFILES

from .baking import Baking
from .base import LARGEST_SIDE, MaskBound, Predictor, describe
from .proof import MaskError, MaskErrors, OutputError64, PixelError, Report, SizeError, iou
from .quantise import photographs
from .torch_predictor import RememberingPredictor

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Divergence",
    "MaskError",
    "OutputError64",
    "PixelError",
    "Reference",
    "Report",
    "SizeError",
    "compare",
    "divergence",
    "farthest",
    "in_batches",
    "iou",
    "judge",
    "pixel_error",
    "size_error",
]

FLAT = 0.02  # outputs that vary less than this prove little: a freshly initialised network answers 0.48 everywhere


@dataclass(frozen=True)
class Divergence:
    """The first unit whose activation differs.

    Attributes:
        path: of the unit, `stage1.rebnconv5d`.
        shape, expected: (C, h, w) in the artifact and in Torch.
        error: relative (L2); None when the shapes differ. `allowed` is what rounding explains.
    """

    path: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]
    error: float | None
    allowed: float

    def text(self) -> str:
        """`stage1.rebnconv5d: (16, 20, 20), in Torch (16, 20, 20); relative error 3.1e-02, explained 1.0e-04`."""
        text = f"{self.path}: {self.shape}, in Torch {self.expected}"
        if self.error is None:
            return text
        return f"{text}; relative error {self.error:.1e}, explained by rounding {self.allowed:.1e}"


class Reference:
    """The float64 outputs of a checkpoint at one size, and how far Torch float32 strays from them: the noise floor.

    Inputs are two tensors (1, C, H, W): a photograph, where the network has three input channels, and noise.
    """

    def __init__(self, checkpoint: Checkpoint, size: tuple[int, int], calibration: Path | None = None):
        if any(not 1 <= side <= LARGEST_SIDE for side in size):
            raise OptionError(f"size {describe(size)}: sides are whole numbers from 1 to {LARGEST_SIDE}")
        self.checkpoint = checkpoint
        self.size = size
        self.calibration = calibration
        shape = (1, checkpoint.arch.in_ch, *size)
        noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        photograph = checkpoint.arch.in_ch == 3
        first = PROFILES["paper"].tensor(self.images[0], size) if photograph else noise[..., ::-1]
        self.inputs = np.concatenate([first, noise])
        self._pictured: dict[Baking, list[tuple[np.ndarray, np.ndarray]]] = {}

    def compute(self) -> None:
        """Computes what every comparison needs now, before exporters and runtimes take their memory."""
        _ = self.noise  # and with it `exact`

    @functools.cached_property
    def images(self) -> "list[Image.Image]":
        return photographs.images(self.calibration)

    @functools.cached_property
    def photographs(self) -> list[np.ndarray]:
        return [PROFILES["paper"].tensor(image, self.size) for image in self.images]

    @functools.cached_property
    def exact(self) -> dict[str, np.ndarray]:
        return self._one_by_one(RememberingPredictor(self.checkpoint, "float64"))

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
        single = self.single
        return np.concatenate([single(x[None])["mask"] for x in self.pictures])

    def pictured(self, baking: Baking) -> list[tuple[np.ndarray, np.ndarray]]:
        """The photographs as 8-bit pictures (H, W, 3), and what Torch and the profile make of each, uint8 (H, W)."""
        key = replace(baking, precision="fp32")
        if key not in self._pictured:
            single = self.single
            pixels = [baking.profile.pixels(image, self.size) for image in self.images]
            self._pictured[key] = [(each, picture_of(single, baking, each)) for each in pixels]
        return self._pictured[key]

    @property
    def flat(self) -> bool:
        return float(np.ptp(self.exact["mask"])) < FLAT


def farthest(results: Sequence[dict[str, np.ndarray]], exact: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest absolute difference from `exact` of each output, over several results."""
    return {name: max(float(np.abs(each[name] - right).max()) for each in results) for name, right in exact.items()}


def compare(
    predictor: Predictor,
    reference: Reference,
    bound: MaskBound | None = None,
    expected: Sequence[str] | None = None,
) -> Report:
    """`judge`, and where it fails the first unit that differs."""
    report = judge(predictor, reference, bound, expected)
    if report.ok:
        return report
    return replace(report, diverges_at=first_divergence(predictor, reference, coarse=bound is not None))


def judge(
    predictor: Predictor,
    reference: Reference,
    bound: MaskBound | None = None,
    expected: Sequence[str] | None = None,
) -> Report:
    """The parity report of an artifact: against the noise floor, or at a reduced precision against `bound`.

    Args:
        expected: the outputs that it must have, in order; None: whichever it has.

    Raises:
        ArtifactError: its outputs have other names or shapes.
    """
    if predictor.baking:
        return Report((), None, None, reference.flat, pixel_error(predictor, predictor.baking, reference, bound))
    results = in_batches(predictor, reference.inputs)
    names = tuple(expected or (name for name in predictor.outputs if name in reference.exact))
    if tuple(predictor.outputs) != names:
        raise ArtifactError(f"outputs {list(predictor.outputs)}; expected: {list(names) or list(reference.exact)}")
    outputs = tuple(_output_error(name, results[name], reference) for name in names)
    masks = _mask_error(predictor, reference, bound, outputs) if bound else None
    return Report(outputs, masks, None, reference.flat)


def in_batches(predictor: Predictor, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Runs all inputs in the batches that the predictor takes; a last batch that is short is filled up."""
    step = predictor.batch or len(inputs)
    parts = []
    for start in range(0, len(inputs), step):
        wanted = [min(n, len(inputs) - 1) for n in range(start, start + step)]
        parts.append({name: value.copy() for name, value in predictor(inputs[wanted]).items()})
    return {name: np.concatenate([part[name] for part in parts])[: len(inputs)] for name in parts[0]}


def pixel_error(
    predictor: Predictor, baking: Baking, reference: Reference, bound: MaskBound | None = None
) -> PixelError:
    """Of the reference's photographs as 8-bit pictures."""
    got = [picture(predictor, pixels) for pixels, _ in reference.pictured(baking)]
    pairs = list(zip(got, (wanted for _, wanted in reference.pictured(baking)), strict=True))
    if baking.classes > 1:
        differ = float(np.mean([a != b for a, b in pairs]))
        same = [iou(a == n, b == n) for a, b in pairs for n in np.unique(b)]
        return PixelError(float(np.mean(same)), min(same), differ, 1 - differ, float(differ > 0), bound)
    errors = MaskErrors.of([(a[None] / 255, b[None] / 255) for a, b in pairs])
    off = np.stack([np.abs(a.astype(np.int16) - b) for a, b in pairs])
    near, largest = float((off <= 1).mean()), float(off.max()) / 255
    return PixelError(errors.iou, errors.worst, errors.mae, near, largest, bound)


def picture(predictor: Predictor, pixels: np.ndarray) -> np.ndarray:
    """What a predictor of pictures answers to uint8 pixels (H, W, 3): uint8 (H, W)."""
    return in_batches(predictor, pixels.transpose(2, 0, 1)[None])["mask"][0, 0]


def picture_of(model: Predictor, baking: Baking, pixels: np.ndarray) -> np.ndarray:
    """What the profile makes of Torch's d0 for uint8 pixels (H, W, 3): uint8 (H, W)."""
    return baking.finished(model(baking.profile.normalised(pixels))["mask"][0])


def size_error(predictor: Predictor, reference: Reference, size: tuple[int, int], bound: MaskBound) -> SizeError:
    """Of the first photograph at another size."""
    image, baking = reference.images[0], predictor.baking
    if baking:
        pixels = baking.profile.pixels(image, size)
        a, b = picture(predictor, pixels), picture_of(reference.single, baking, pixels)
        if baking.classes > 1:  # a channel per class, as d0 has it
            a, b = (np.eye(baking.classes, dtype=np.float32)[labels].transpose(2, 0, 1) for labels in (a, b))
        else:
            a, b = a[None] / 255, b[None] / 255
    else:
        x = PROFILES["paper"].tensor(image, size)
        a, b = predictor(x)["mask"][0], reference.single(x)["mask"][0]
    errors = MaskErrors.of([(a, b)])
    return SizeError(errors.iou, errors.worst, errors.mae, bound, size)


def _output_error(name: str, result: np.ndarray, reference: Reference) -> OutputError64:
    exact = reference.exact[name]
    if result.shape != exact.shape:
        raise ArtifactError(f"output {name}: shape {result.shape}, expected {exact.shape}")
    error = np.abs(result - exact)
    error = np.where(np.isfinite(error), error, np.inf)
    return OutputError64(name, float(error.max()), float(error.mean()), reference.noise[name])


def _mask_error(
    predictor: Predictor, reference: Reference, bound: MaskBound, outputs: Sequence[OutputError64]
) -> MaskError:
    pairs = list(zip(in_batches(predictor, reference.pictures)["mask"], reference.masks, strict=True))
    errors = MaskErrors.of(pairs)
    others = [o.mean_abs / max(float(np.ptp(reference.exact[o.name])), 1.0) for o in outputs]
    return MaskError(errors.iou, errors.worst, max(errors.mae, *others), bound)


def first_divergence(predictor: Predictor, reference: Reference, coarse: bool = False) -> str | None:
    """Path of the first unit whose activation differs; None when none can be seen. See `divergence`."""
    found = divergence(predictor, reference, coarse)
    return found.path if found else None


def divergence(predictor: Predictor, reference: Reference, coarse: bool = False) -> Divergence | None:
    """The first unit whose activation differs by more than rounding explains; None when none can be seen.

    Rounding: a relative error (L2) of ten times Torch float32's own against float64, at least 1e-4, or 5e-2 at a
    reduced precision. A file with a profile in its graph is fed a picture, Torch what the profile makes of it.
    """
    given = x = reference.inputs[:1]
    if predictor.baking:
        pixels = reference.pictured(predictor.baking)[0][0]
        given, x = pixels.transpose(2, 0, 1)[None], predictor.baking.profile.normalised(pixels)
    arch = reference.checkpoint.arch
    exact = dict(RememberingPredictor(reference.checkpoint, "float64").taps(x, arch))
    single = dict(reference.single.taps(x, arch))
    floor = 5e-2 if coarse else 1e-4
    whole = np.repeat(given, predictor.batch or 1, axis=0)
    for path, value in predictor.taps(whole, arch):
        allowed = max(floor, 10 * relative(single[path], exact[path]))
        fits = value.shape[1:] == exact[path].shape[1:]
        error = relative(value[:1], exact[path]) if fits else None
        if error is None or not error <= allowed:
            return Divergence(path, value.shape[1:], exact[path].shape[1:], error, allowed)
    return None


def relative(value: np.ndarray, exact: np.ndarray) -> float:
    """L2 norm of the difference over that of `exact`."""
    return float(np.linalg.norm(value - exact)) / max(float(np.linalg.norm(exact)), 1e-12)
