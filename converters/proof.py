"""What a comparison found, and whether that is close enough; see `parity` for how it is measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import MaskBound, describe

__all__ = ["NEAR", "RATIO", "MaskError", "MaskErrors", "OutputError64", "PixelError", "Report", "SizeError", "iou"]

RATIO = 3.0  # an artifact may stray three times as far from float64 as Torch's own float32 does …
SLACK = 1e-6  # … plus this
NEAR = 0.995  # the share of a picture's pixels that have to be at most one grey level off


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
class MaskErrors:
    """Masks of photographs (noise, for networks that take no photographs) against others of the same.

    Attributes:
        iou, worst: mean and lowest IoU at 0.5; of the chosen class where there are several.
        mae: mean absolute difference, relative to a mask's range where that is over 1.
    """

    iou: float
    worst: float
    mae: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> "MaskErrors":
        """`pairs`: (mask, the one that it should be), (C, H, W) each."""
        ious = [iou(_chosen(a), _chosen(b)) for a, b in pairs]
        maes = [float(np.abs(a - b).mean()) / max(float(np.ptp(b)), 1.0) for a, b in pairs]
        return MaskErrors(float(np.mean(ious)), min(ious), float(np.mean(maes)))

    def within(self, bound: MaskBound) -> bool:
        return self.iou >= bound.iou and self.worst >= bound.worst and self.mae <= bound.mae

    def share(self, bound: MaskBound) -> float:
        """The largest part of what `bound` permits that one of the three uses."""
        lost = (1 - self.iou) / (1 - bound.iou), (1 - self.worst) / (1 - bound.worst), self.mae / bound.mae
        return max(lost)

    def summary(self, bound: MaskBound | None = None) -> str:
        """`IoU 0.9951 (worst 0.9890) MAE 0.00102`, and what is needed where that is not enough."""
        text = f"IoU {self.iou:.4f} (worst {self.worst:.4f}) MAE {self.mae:.5f}"
        if bound is None or self.within(bound):
            return text
        return f"{text}; needed: IoU {bound.iou} (worst {bound.worst}), MAE at most {bound.mae}"


@dataclass(frozen=True)
class MaskError(MaskErrors):
    """The same of an artifact against Torch's float32, and what is allowed; `mae` is the largest of all outputs'."""

    bound: MaskBound

    @property
    def ok(self) -> bool:
        return self.within(self.bound)


@dataclass(frozen=True)
class SizeError(MaskError):
    """Of one photograph at one more size that a flexible artifact takes."""

    size: tuple[int, int]


@dataclass(frozen=True)
class PixelError(MaskErrors):
    """Pictures out of an artifact with a profile in its graph, against Torch's d0 and the same profile in NumPy.

    `iou` is at half of 255, `mae` of 255; of class maps they are each class's IoU and the share of pixels that differ.

    Attributes:
        near: share of all pixels that are at most one grey level off; of class maps, that are equal.
        largest: largest absolute error, of 255; of class maps, 1 where any pixel differs.
        bound: None in float32, where `near` decides.
    """

    near: float
    largest: float
    bound: MaskBound | None = None

    @property
    def ok(self) -> bool:
        return self.near >= NEAR if self.bound is None else self.within(self.bound)

    def __str__(self) -> str:
        needed = "" if self.ok or self.bound else f" (needed: {NEAR:.1%})"
        return f"{self.near:.2%} of pixels within 1 grey level{needed}; {self.summary(self.bound)}"


@dataclass(frozen=True)
class Report:
    """What `compare` found.

    Attributes:
        outputs: every output that the artifact has.
        masks: set when the artifact is judged by masks, which it is at a reduced precision.
        diverges_at: when not ok, path of the first unit that differs, where the runtime lets one look.
        flat: the reference itself hardly varies, so agreement proves little.
        pixels: set, and judged alone, when the artifact takes and answers pictures.
        sizes: masks of a photograph at the further sizes of a flexible artifact.
    """

    outputs: tuple[OutputError64, ...]
    masks: MaskError | None
    diverges_at: str | None
    flat: bool
    pixels: PixelError | None = None
    sizes: tuple[SizeError, ...] = ()

    @property
    def ok(self) -> bool:
        if not all(size.ok for size in self.sizes):
            return False
        if self.pixels:
            return self.pixels.ok
        finite = all(np.isfinite(output.max_abs) for output in self.outputs)
        return finite and (self.masks.ok if self.masks else all(output.ok for output in self.outputs))

    @property
    def share(self) -> float:
        """How much of what is allowed was used; over 1 it is beyond the bound."""
        if self.masks:
            return self.masks.share(self.masks.bound)
        if self.pixels:
            bound = self.pixels.bound
            return self.pixels.share(bound) if bound else (1 - self.pixels.near) / (1 - NEAR)
        return self.worst.max_abs / self.worst.allowed

    @property
    def worst(self) -> OutputError64:
        """The output that is nearest to its bound, or farthest beyond it."""
        return max(self.outputs, key=lambda output: output.max_abs / output.allowed)

    def summary(self) -> str:
        """`max|Δ| 2.1e-06 = 0.8x noise`, and the masks where they decide."""
        text = self._figures()
        bad = next((size for size in self.sizes if not size.ok), None)
        return f"{text}; at {describe(bad.size)} {bad.summary(bad.bound)}" if bad else text

    def _figures(self) -> str:
        if self.pixels:
            return str(self.pixels)
        text = f"max|Δ| {self.worst.max_abs:.1e} = {self.worst.ratio:.1f}x noise"
        return f"{text}; {self.masks.summary(self.masks.bound)}" if self.masks else text


def _chosen(output: np.ndarray) -> np.ndarray:
    """(C, H, W) output to booleans: the mask at 0.5, or per class where it is the largest."""
    if len(output) == 1:
        return output > 0.5
    return np.arange(len(output))[:, None, None] == output.argmax(axis=0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boolean arrays; 1 when both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0
