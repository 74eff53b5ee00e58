"""Is the artifact the network? Compares a predictor with the float64 Torch reference; returns a report."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES

from .baking import Baking
from .base import MaskBound, Predictor
from .proof import MaskError, OutputError64, PixelError, Report, SizeError
from .quantise import photographs
from .torch_predictor import TorchPredictor

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
    "chosen",
    "compare",
    "divergence",
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
    """The float64 outputs of a checkpoint at one size, and how far Torch float32 strays from them; computed once.

    Inputs are two tensors (1, C, H, W): a photograph, where the network has three input channels, and noise.
    """

    def __init__(self, checkpoint: Checkpoint, size: tuple[int, int], calibration: Path | None = None):
        self.checkpoint = checkpoint
        self.size = size
        self.calibration = calibration
        shape = (1, checkpoint.arch.in_ch, *size)
        noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        photographs = [self.photographs[0]] if checkpoint.arch.in_ch == 3 else [noise[..., ::-1].copy()]
        self.inputs = np.concatenate([*photographs, noise])

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
        return self._one_by_one(TorchPredictor(self.checkpoint, "float64"))

    @property
    def single(self) -> TorchPredictor:
        """Made anew when asked for: it is as large as the checkpoint, and seldom needed twice."""
        return TorchPredictor(self.checkpoint)

    @functools.cached_property
    def noise(self) -> dict[str, float]:
        strays = in_batches(self.single, self.inputs)
        return {name: float(np.abs(strays[name] - exact).max()) for name, exact in self.exact.items()}

    def _one_by_one(self, model: TorchPredictor) -> dict[str, np.ndarray]:
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

    @property
    def flat(self) -> bool:
        return float(np.ptp(self.exact["mask"])) < FLAT


def compare(
    predictor: Predictor,
    reference: Reference,
    bound: MaskBound | None = None,
    expected: Sequence[str] | None = None,
) -> Report:
    """`judge`, and where it fails the first unit that differs."""
    report = judge(predictor, reference, bound, expected)
    if report.ok or report.pixels:
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
    single = reference.single
    pictures = [baking.profile.pixels(image, reference.size) for image in reference.images]
    wanted = [picture_of(single, baking, pixels) for pixels in pictures]
    got = [in_batches(predictor, pixels.transpose(2, 0, 1)[None])["mask"][0, 0] for pixels in pictures]
    pairs = [(a.astype(np.int16), b.astype(np.int16)) for a, b in zip(got, wanted, strict=True)]
    if baking.classes > 1:
        differ = float(np.mean([a != b for a, b in pairs]))
        same = [iou(a == n, b == n) for a, b in pairs for n in np.unique(b)]
        return PixelError(1 - differ, float(np.mean(same)), differ, min(same), float(differ > 0), bound)
    off = np.stack([np.abs(a - b) for a, b in pairs])
    same = [iou(a > 127, b > 127) for a, b in pairs]
    mae = float(off.mean()) / 255
    return PixelError(float((off <= 1).mean()), float(np.mean(same)), mae, min(same), float(off.max()) / 255, bound)


def picture_of(model: TorchPredictor, baking: Baking, pixels: np.ndarray) -> np.ndarray:
    """What the profile makes of Torch's d0 for uint8 pixels (H, W, 3): uint8 (H, W)."""
    d0 = model(baking.profile.normalised(pixels))["mask"][0]
    if baking.classes > 1:
        return d0.argmax(axis=0).astype(np.uint8)
    answer = baking.profile.answer(baking.profile.activation(d0[0]))
    return (answer * np.float32(255)).astype(np.uint8)


def size_error(predictor: Predictor, reference: Reference, size: tuple[int, int], bound: MaskBound) -> SizeError:
    """Of the first photograph at another size."""
    image = reference.images[0]
    if predictor.baking:
        pixels = predictor.baking.profile.pixels(image, size)
        if predictor.baking.classes > 1:
            got, wanted = (
                predictor(pixels.transpose(2, 0, 1)[None])["mask"][0, 0],
                picture_of(reference.single, predictor.baking, pixels),
            )
            same = [iou(got == n, wanted == n) for n in np.unique(wanted)]
            return SizeError(size, float(np.mean(same)), float((got != wanted).mean()), bound)
        a = predictor(pixels.transpose(2, 0, 1)[None])["mask"][0] / 255
        b = picture_of(reference.single, predictor.baking, pixels)[None] / 255
    else:
        x = PROFILES["paper"].tensor(image, size)
        a, b = predictor(x)["mask"][0], reference.single(x)["mask"][0]
    return SizeError(size, iou(chosen(a), chosen(b)), float(np.abs(a - b).mean()), bound)


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
    ious = [iou(chosen(a), chosen(b)) for a, b in pairs]
    maes = [float(np.abs(a - b).mean()) / max(float(np.ptp(b)), 1.0) for a, b in pairs]
    others = [o.mean_abs / max(float(np.ptp(reference.exact[o.name])), 1.0) for o in outputs]
    return MaskError(float(np.mean(ious)), max(float(np.mean(maes)), *others), min(ious), bound)


def chosen(output: np.ndarray) -> np.ndarray:
    """(C, H, W) output to booleans: the mask at 0.5, or per class where it is the largest."""
    if len(output) == 1:
        return output > 0.5
    return np.arange(len(output))[:, None, None] == output.argmax(axis=0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boolean arrays; 1 when both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def first_divergence(predictor: Predictor, reference: Reference, coarse: bool = False) -> str | None:
    """Path of the first unit whose activation differs; None when none can be seen. See `divergence`."""
    found = divergence(predictor, reference, coarse)
    return found.path if found else None


def divergence(predictor: Predictor, reference: Reference, coarse: bool = False) -> Divergence | None:
    """The first unit whose activation differs by more than rounding explains; None when none can be seen.

    Rounding: a relative error (L2) of ten times Torch float32's own against float64, at least 1e-4, or 5e-2 at a
    reduced precision.
    """
    x = reference.inputs[:1]
    arch = reference.checkpoint.arch
    exact = dict(TorchPredictor(reference.checkpoint, "float64").taps(x, arch))
    single = dict(reference.single.taps(x, arch))
    floor = 5e-2 if coarse else 1e-4
    whole = np.repeat(x, predictor.batch or 1, axis=0)
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
