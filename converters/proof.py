"""What a comparison found, and whether that is close enough; see `parity` for how it is measured."""

from dataclasses import dataclass

import numpy as np

from .base import MaskBound, describe

__all__ = ["RATIO", "WITHIN", "MaskError", "OutputError64", "PixelError", "Report", "SizeError"]

RATIO = 3.0  # an artifact may stray three times as far from float64 as Torch's own float32 does …
SLACK = 1e-6  # … plus this
WITHIN = 0.995  # the share of a picture's pixels that have to be at most one grey level off


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
class PixelError:
    """Pictures out of an artifact with a profile in its graph, against Torch's d0 and the same profile in NumPy.

    Attributes:
        within: share of all pixels that are at most one grey level off; of class maps, that are equal.
        iou: mean IoU at half of 255 over the photographs; of class maps, of each class.
        mae: mean absolute error, of 255; of class maps, the share of pixels that differ.
        worst: the lowest IoU of a single photograph.
        largest: largest absolute error, of 255; of class maps, 1 where any pixel differs.
        bound: None in float32, where `within` decides.
    """

    within: float
    iou: float
    mae: float
    worst: float
    largest: float
    bound: MaskBound | None = None

    @property
    def ok(self) -> bool:
        if self.bound is None:
            return self.within >= WITHIN
        return MaskError(self.iou, self.mae, self.worst, self.bound).ok

    def __str__(self) -> str:
        masks = MaskError(self.iou, self.mae, self.worst, self.bound or MaskBound(iou=0, mae=1, worst=0))
        return f"{self.within:.2%} of pixels within 1 grey level; {masks.summary()}"


@dataclass(frozen=True)
class SizeError:
    """The mask of a photograph at one more size that a flexible artifact takes, against Torch's float32."""

    size: tuple[int, int]
    iou: float
    mae: float
    bound: MaskBound

    @property
    def name(self) -> str:
        return describe(self.size)

    @property
    def ok(self) -> bool:
        return self.iou >= self.bound.iou and self.mae <= self.bound.mae


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
    def worst(self) -> OutputError64:
        """The output that is nearest to its bound, or farthest beyond it."""
        return max(self.outputs, key=lambda output: output.max_abs / output.allowed)

    def summary(self) -> str:
        """`max|Δ| 2.1e-06 = 0.8x noise`, and the masks where they decide."""
        text = self._figures()
        bad = next((size for size in self.sizes if not size.ok), None)
        return f"{text}; at {bad.name} IoU {bad.iou:.4f} MAE {bad.mae:.5f}" if bad else text

    def _figures(self) -> str:
        if self.pixels:
            return str(self.pixels)
        text = f"max|Δ| {self.worst.max_abs:.1e} = {self.worst.ratio:.1f}x noise"
        return f"{text}; {self.masks.summary()}" if self.masks else text
