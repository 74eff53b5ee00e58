"""How far masks and pictures are from those that they should be, and how far they may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

__all__ = [
    "EIGHT_BITS",
    "GREY_LEVEL",
    "NEAR",
    "ROUNDED",
    "GreyError",
    "MaskBound",
    "MaskError",
    "MaskErrors",
    "PixelError",
    "SizeError",
    "iou",
]

NEAR = 0.995  # the share of a picture's pixels that have to be at most one grey level off


@dataclass(frozen=True)
class MaskBound:
    """How far the masks of photographs may be from the float32 masks at a reduced precision."""

    iou: float  # at least, mean over the photographs, at 0.5
    mae: float  # at most, mean, of 1
    worst: float = 0.0  # IoU of each single photograph at least


EIGHT_BITS = "8 bits"  # a file of another maker that answers masks as pictures, whatever it computes in
# Measured on the bundled network and six photographs at 128x128, 2026-11-26: rounded 1.0000 (worst 1.0000) 0.00102, cut
# off 0.9992 (worst 0.9980) 0.00191.
ROUNDED = MaskBound(iou=0.998, worst=0.996, mae=0.003)

GREY_LEVEL = "grey level"  # what kernels compute in that trade digits for speed, in float32 nevertheless


@dataclass(frozen=True)
class GreyError:
    """Masks by such kernels against Torch's float32, relative to the masks' range where that is over 1.

    Measured with MNN's Winograd kernels at 320x320 on six photographs, 2026-11-26: u2net_nano every pixel, 1.0000 and
    2.6e-4; u2netp every pixel, 1.0000 and 5.9e-4.

    Attributes:
        near: share of the pixels that are at most one grey level of 255 off, of the worst photograph.
        iou: at 0.5, of the worst photograph.
        largest: largest absolute difference, of any output.
    """

    near: float
    iou: float
    largest: float

    NEAR: ClassVar[float] = 0.999
    IOU: ClassVar[float] = 0.9995
    LARGEST: ClassVar[float] = 2e-3

    @classmethod
    def of(cls, pairs: Sequence[tuple[np.ndarray, np.ndarray]], largest: float) -> "GreyError":
        """`pairs`: (mask, the one that it should be), (C, H, W) each; `largest`: of the other outputs."""
        ranges = [max(float(np.ptp(b)), 1.0) for _, b in pairs]
        levels = [(np.rint(a * (255 / r)), np.rint(b * (255 / r))) for (a, b), r in zip(pairs, ranges, strict=True)]
        near = min(float((np.abs(a - b) <= 1).mean()) for a, b in levels)
        apart = [float(np.abs(a - b).max()) / r for (a, b), r in zip(pairs, ranges, strict=True)]
        found = [each if np.isfinite(each) else float("inf") for each in (*apart, largest)]
        return cls(near, min(iou(_chosen(a), _chosen(b)) for a, b in pairs), max(found))

    @property
    def ok(self) -> bool:
        return self.near >= self.NEAR and self.iou >= self.IOU and self.largest <= self.LARGEST

    def __str__(self) -> str:
        text = f"{self.near:.2%} of pixels within 1 grey level, IoU {self.iou:.4f}, max|Δ| {self.largest:.1e}"
        return text if self.ok else f"{text} (needed: {self.NEAR:.1%}, {self.IOU}, {self.LARGEST:.0e})"


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


def _chosen(output: np.ndarray) -> np.ndarray:
    """(C, H, W) output to booleans: the mask at 0.5, or per class where it is the largest."""
    if len(output) == 1:
        return output > 0.5
    return np.arange(len(output))[:, None, None] == output.argmax(axis=0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boolean arrays; 1 when both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0
