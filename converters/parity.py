"""Is the artifact the network? Compares a predictor with the float64 Torch reference; returns a report."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError

from .base import MaskBound, Predictor
from .quantise import photographs
from .torch_predictor import TorchPredictor

__all__ = ["MaskError", "OutputError64", "Reference", "Report", "chosen", "compare", "in_batches", "iou"]

RATIO = 3.0  # an artifact may stray three times as far from float64 as Torch's own float32 does …
SLACK = 1e-6  # … plus this
FLAT = 0.02  # outputs that vary less than this prove little: a freshly initialised network answers 0.48 everywhere


@dataclass(frozen=True)
class OutputError64:
    """One output against the float64 reference: largest and mean absolute difference, and Torch float32's largest."""

    name: str
    max_abs: float
    mean_abs: float
    noise: float

    @property
    def ratio(self) -> float:
        return self.max_abs / max(self.noise, 1e-12)

    @property
    def allowed(self) -> float:
        return RATIO * self.noise + SLACK

    @property
    def ok(self) -> bool:
        return self.max_abs <= self.allowed


@dataclass(frozen=True)
class MaskError:
    """Masks of photographs (noise, for networks that take no photographs) against Torch float32's.

    Attributes:
        iou: mean IoU at 0.5 of d0 itself; of the chosen class where there are several.
        mae: the largest of all outputs' mean absolute errors, relative to an output's range where that is over 1.
        worst: the lowest IoU of a single photograph.
    """

    iou: float
    mae: float
    worst: float
    bound: MaskBound

    @property
    def ok(self) -> bool:
        return self.iou >= self.bound.iou and self.worst >= self.bound.worst and self.mae <= self.bound.mae

    def summary(self) -> str:
        """`IoU 0.9951 (worst 0.9890) MAE 0.00102`, and what is allowed where that is not enough."""
        text = f"IoU {self.iou:.4f} (worst {self.worst:.4f}) MAE {self.mae:.5f}"
        least = f"{self.bound.iou} (worst {self.bound.worst}), MAE at most {self.bound.mae}"
        return text if self.ok else f"{text}; needed: IoU {least}"


@dataclass(frozen=True)
class Report:
    """What `compare` found.

    Attributes:
        outputs: every output that the artifact has.
        masks: set when the artifact is judged by masks, which it is at a reduced precision.
        diverges_at: when not ok, path of the first unit that differs, where the runtime lets one look.
        flat: the reference itself hardly varies, so agreement proves little.
    """

    outputs: tuple[OutputError64, ...]
    masks: MaskError | None
    diverges_at: str | None
    flat: bool

    @property
    def ok(self) -> bool:
        finite = all(np.isfinite(output.max_abs) for output in self.outputs)
        return finite and (self.masks.ok if self.masks else all(output.ok for output in self.outputs))

    @property
    def worst(self) -> OutputError64:
        """The output that is nearest to its bound, or farthest beyond it."""
        return max(self.outputs, key=lambda output: output.max_abs / output.allowed)

    def summary(self) -> str:
        """`max|Δ| 2.1e-06 = 0.8x noise`, and the masks where they decide."""
        text = f"max|Δ| {self.worst.max_abs:.1e} = {self.worst.ratio:.1f}x noise"
        return f"{text}; {self.masks.summary()}" if self.masks else text


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

    @functools.cached_property
    def photographs(self) -> list[np.ndarray]:
        return photographs.tensors(self.size, self.calibration)

    @functools.cached_property
    def exact(self) -> dict[str, np.ndarray]:
        model = TorchPredictor(self.checkpoint, "float64")
        return in_batches(model, self.inputs)

    @functools.cached_property
    def single(self) -> TorchPredictor:
        return TorchPredictor(self.checkpoint)

    @functools.cached_property
    def noise(self) -> dict[str, float]:
        strays = in_batches(self.single, self.inputs)
        return {name: float(np.abs(strays[name] - exact).max()) for name, exact in self.exact.items()}

    @functools.cached_property
    def pictures(self) -> np.ndarray:
        """What masks are compared on: the photographs (N, 3, H, W), noise where the network takes none."""
        return np.concatenate(self.photographs) if self.checkpoint.arch.in_ch == 3 else self.inputs

    @functools.cached_property
    def masks(self) -> np.ndarray:
        return np.concatenate([self.single(x[None])["mask"] for x in self.pictures])

    @property
    def flat(self) -> bool:
        return float(np.ptp(self.exact["mask"])) < FLAT


def compare(
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
    results = in_batches(predictor, reference.inputs)
    names = tuple(expected or (name for name in predictor.outputs if name in reference.exact))
    if tuple(predictor.outputs) != names:
        raise ArtifactError(f"outputs {list(predictor.outputs)}; expected: {list(names) or list(reference.exact)}")
    outputs = tuple(_output_error(name, results[name], reference) for name in names)
    masks = _mask_error(predictor, reference, bound, outputs) if bound else None
    report = Report(outputs, masks, None, reference.flat)
    if report.ok:
        return report
    return Report(outputs, masks, first_divergence(predictor, reference, coarse=bound is not None), reference.flat)


def in_batches(predictor: Predictor, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Runs all inputs in the batches that the predictor takes; a last batch that is short is filled up."""
    step = predictor.batch or len(inputs)
    parts = []
    for start in range(0, len(inputs), step):
        wanted = [min(n, len(inputs) - 1) for n in range(start, start + step)]
        parts.append({name: value.copy() for name, value in predictor(inputs[wanted]).items()})
    return {name: np.concatenate([part[name] for part in parts])[: len(inputs)] for name in parts[0]}


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
    """Path of the first unit whose activation differs by more than rounding explains; None when none can be seen.

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
        allowed = max(floor, 10 * _relative(single[path], exact[path]))
        if value.shape[1:] != exact[path].shape[1:] or not _relative(value[:1], exact[path]) <= allowed:
            return path
    return None


def _relative(value: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(value - exact)) / max(float(np.linalg.norm(exact)), 1e-12)
