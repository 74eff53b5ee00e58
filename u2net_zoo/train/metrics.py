"""The measures of salient object detection, per picture and over a set.

The standard definitions are pysodmetrics'. Only the relaxed boundary F-measure, which it lacks, is computed here.

| measure | source |
|---|---|
| MAE | mean absolute difference of the min-max normalised prediction and the mask cut at 128 |
| max F | Achanta 2009, β² = 0.3: F at 256 thresholds, averaged over pictures, then the largest (the library's way) |
| max F of means | the authors' way: precision and recall are averaged over pictures, then the largest F is taken |
| weighted F | Margolin 2014, β² = 1 as its authors and the library have it; `weighted_f_03` is the same with β² = 0.3 |
| S | Fan 2017, α = 0.5 |
| E | Fan 2018, mean over 256 thresholds; `max_e` is the largest |
| relaxed boundary F | Ehrig & Euzenat 2005, as in BASNet (Qin 2019): slack 3 pixels, β² = 0.3 |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MissingExtraError

__all__ = ["BETA2", "MEASURES", "Scores", "boundary", "mean_curve", "measure", "relaxed_boundary_f", "summary"]

BETA2 = 0.3
SLACK = 3  # pixels
MEASURES = (
    "mae",
    "max_f",
    "max_f_of_means",
    "weighted_f",
    "weighted_f_03",
    "s",
    "mean_e",
    "max_e",
    "boundary_f",
    "iou",
)


@dataclass(frozen=True)
class Scores:
    """What one picture contributes.

    Attributes:
        values: measure -> its value on this picture alone; for `max_…` at the picture's own best threshold.
        precision, recall, f, e: at thresholds 255 … 0 (prediction >= threshold), (256,) each.
    """

    values: dict[str, float]
    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    e: np.ndarray


def measure(prediction: np.ndarray, mask: np.ndarray) -> Scores:
    """Every measure of one prediction.

    Args:
        prediction: (H, W) uint8; stretched to its full range first, as all the measures' authors do.
        mask: (H, W) uint8; above 128 is object.
    """
    sod = _library()
    tools = {
        "mae": sod.MAE(),
        "weighted_f": sod.WeightedFmeasure(beta=1),
        "weighted_f_03": sod.WeightedFmeasure(beta=BETA2),
        "s": sod.Smeasure(alpha=0.5),
        "e": sod.Emeasure(),
        "f": _curves(sod),
    }
    for tool in tools.values():
        tool.step(prediction, mask)
    results = {name: tool.get_results() for name, tool in tools.items()}
    e = np.asarray(results["e"]["em"]["curve"])
    precision, recall, f = (np.asarray(results["f"][name]["dynamic"]) for name in ("precision", "recall", "f"))
    values = {
        "mae": results["mae"]["mae"],
        "max_f": f.max(),
        "max_f_of_means": f.max(),
        "weighted_f": results["weighted_f"]["wfm"],
        "weighted_f_03": results["weighted_f_03"]["wfm"],
        "s": results["s"]["sm"],
        "mean_e": e.mean(),
        "max_e": e.max(),
        "boundary_f": relaxed_boundary_f(_stretch(prediction) > 0.5, mask > 128),
        "iou": results["f"]["iou"]["binary"],
    }
    return Scores({name: float(values[name]) for name in MEASURES}, precision, recall, f, e)


def summary(scores: Sequence[Scores]) -> dict[str, float]:
    """Means over pictures; a `max_…` is the largest value of a mean curve."""
    means = {name: float(np.mean([s.values[name] for s in scores])) for name in MEASURES}
    precision, recall, f, e = (mean_curve(scores, name) for name in ("precision", "recall", "f", "e"))
    means |= {"max_f": float(f.max()), "max_e": float(e.max())}
    return means | {"max_f_of_means": float(f_measure(precision, recall).max())}


def mean_curve(scores: Sequence[Scores], name: str) -> np.ndarray:
    """One of `precision`, `recall`, `f`, `e`, averaged over pictures, (256,)."""
    return np.mean([getattr(s, name) for s in scores], axis=0)


def f_measure(precision: np.ndarray, recall: np.ndarray, beta2: float = BETA2) -> np.ndarray:
    """(1 + β²) P R / (β² P + R), 0 where both are 0."""
    below = beta2 * precision + recall
    return (1 + beta2) * precision * recall / np.where(below == 0, 1, below)


def relaxed_boundary_f(prediction: np.ndarray, mask: np.ndarray, slack: int = SLACK, beta2: float = BETA2) -> float:
    """F-measure of outlines, where a pixel counts as met if the other outline passes within `slack` pixels.

    Args:
        prediction, mask: (H, W) bool.

    Returns:
        1 where neither has an outline, 0 where only one has.
    """
    from scipy.ndimage import distance_transform_edt

    ours, theirs = boundary(prediction), boundary(mask)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = (distance_transform_edt(~theirs)[ours] <= slack).mean()
    recall = (distance_transform_edt(~ours)[theirs] <= slack).mean()
    return float(f_measure(np.array(precision), np.array(recall), beta2))


def boundary(mask: np.ndarray) -> np.ndarray:
    """The object's outermost pixels, XOR(M, erosion of M by 3x3) as in BASNet; beyond the picture lies object."""
    from scipy.ndimage import binary_erosion

    return mask ^ binary_erosion(mask, np.ones((3, 3)), border_value=1)


def _stretch(prediction: np.ndarray) -> np.ndarray:
    values = prediction.astype(np.float64) / 255
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values


def _curves(sod: Any) -> Any:
    options = {"with_dynamic": True, "with_adaptive": False}
    handlers = {
        "precision": sod.PrecisionHandler(**options),
        "recall": sod.RecallHandler(**options),
        "f": sod.FmeasureHandler(**options, beta=BETA2),
        "iou": sod.IOUHandler(with_dynamic=False, with_adaptive=False, with_binary=True),
    }
    return sod.FmeasureV2(metric_handlers=handlers)


def _library() -> Any:
    try:
        import py_sod_metrics
    except ModuleNotFoundError:
        raise MissingExtraError("u2zoo eval", "pysodmetrics", "train") from None
    return py_sod_metrics
