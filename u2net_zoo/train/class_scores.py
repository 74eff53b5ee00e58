"""Maps of classes against true ones: the IoU of each class over a set, and their mean."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import staged
from .labels import IGNORED, Labels

__all__ = ["ClassReport", "ClassRow", "compare_classes", "write_classes", "write_rows"]


@dataclass(frozen=True)
class ClassRow:
    """One picture. `confusion`: (true, predicted) int64 pixels; None where it could not be scored: `flag` says why."""

    name: str
    confusion: np.ndarray | None
    flag: str = ""


@dataclass(frozen=True)
class ClassReport:
    """Attributes:
    classes: their names.
    """

    classes: tuple[str, ...]
    rows: tuple[ClassRow, ...]

    @property
    def scored(self) -> int:
        return sum(row.confusion is not None for row in self.rows)

    @property
    def confusion(self) -> np.ndarray:
        return np.sum([row.confusion for row in self.rows if row.confusion is not None], axis=0)

    def iou(self) -> dict[str, float | None]:
        """Of each class over all pixels of the set, as PASCAL VOC has it; None where it occurs nowhere."""
        return dict(zip(self.classes, ious(self.confusion), strict=True))

    def to_dict(self) -> dict[str, Any]:
        total = self.confusion
        return {
            "pictures": len(self.rows),
            "scored": self.scored,
            "miou": mean_iou(total),
            "pixel_accuracy": float(np.trace(total) / total.sum()),
            "class_iou": self.iou(),
            "flags": {row.name: [row.flag] for row in self.rows if row.flag},
        }


def ious(confusion: np.ndarray) -> list[float | None]:
    """True positives / (true + predicted - true positives), class by class."""
    hits = np.diag(confusion)
    unions = confusion.sum(0) + confusion.sum(1) - hits
    return [float(hit / union) if union else None for hit, union in zip(hits, unions, strict=True)]


def mean_iou(confusion: np.ndarray) -> float:
    """Mean over the classes that occur, in the masks or in the predictions."""
    return float(np.mean([iou for iou in ious(confusion) if iou is not None]))


def compare_classes(
    predictions: Mapping[str, Path],
    masks: Mapping[str, Path],
    classes: tuple[str, ...],
    progress: Callable[[int, int], None] = lambda done, total: None,
    ignore: int = -1,
) -> ClassReport:
    """Both map a name to its file, an index or palette picture.

    Args:
        ignore: see `Labels`; such pixels of a true map are not scored.

    Raises:
        InputError: nothing is left to score.
    """
    names, rows = sorted({*predictions, *masks}), []
    for done, name in enumerate(names, start=1):
        rows.append(_row(name, predictions.get(name), masks.get(name), classes, ignore))
        progress(done, len(names))
    report = ClassReport(classes, tuple(rows))
    if not report.scored:
        first = next((f"{row.name}: {row.flag}" for row in rows if row.flag), "no pictures")
        raise InputError(f"none of {len(rows)} pictures could be scored; the first: {first}")
    return report


def _row(name: str, prediction: Path | None, mask: Path | None, classes: tuple[str, ...], ignore: int) -> ClassRow:
    if prediction is None or mask is None:
        return ClassRow(name, None, "no mask" if mask is None else "no prediction")
    try:
        ours = Labels(classes).read(prediction).astype(np.int64)
        theirs = Labels(classes, ignore=ignore).read(mask).astype(np.int64)
    except InputError as error:
        return ClassRow(name, None, str(error))
    if ours.shape != theirs.shape:
        sizes = " and ".join(f"{plane.shape[1]}x{plane.shape[0]}" for plane in (ours, theirs))
        return ClassRow(name, None, f"other size: prediction and mask are {sizes}")
    count, scored = len(classes), theirs != IGNORED
    if not scored.any():
        return ClassRow(name, None, f"the mask holds {ignore} alone, which is left out")
    pixels = np.bincount((theirs * count + ours)[scored], minlength=count * count)
    return ClassRow(name, pixels.reshape(count, count))


def write_classes(report: ClassReport, path: Path) -> None:
    """One line for each class, then their mean. Raises OutputError."""
    total = report.confusion
    with staged(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["class", "iou", "true pixels", "predicted pixels"])
        columns = zip(report.classes, ious(total), total.sum(1), total.sum(0), strict=True)
        table.writerows((name, _text(iou), int(true), int(predicted)) for name, iou, true, predicted in columns)
        table.writerow(["(mean)", _text(mean_iou(total)), int(total.sum()), int(total.sum())])


def write_rows(report: ClassReport, path: Path) -> None:
    """One line for each picture. Raises OutputError."""
    with staged(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["name", "miou", *report.classes, "flags"])
        for row in report.rows:
            found = [None] * len(report.classes) if row.confusion is None else ious(row.confusion)
            mean = "" if row.confusion is None else _text(mean_iou(row.confusion))
            table.writerow([row.name, mean, *map(_text, found), row.flag])


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
