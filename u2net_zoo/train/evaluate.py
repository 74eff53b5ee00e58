"""A folder of predictions against a folder of masks: scores per picture and in all, and what is odd about any."""

import contextlib
import csv
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..depth import values_of
from ..errors import InputError, MissingExtraError
from ..files import staged
from ..system import worker_limit
from .labels import grey_image
from .metrics import MEASURES, Scores, mean_curve, measure, summary

__all__ = ["Report", "Row", "compare", "write_csv", "write_curve", "write_plot"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Row:
    """One picture. `scores` is None where it could not be scored; `flags` say what is odd about it."""

    name: str
    scores: Scores | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    rows: tuple[Row, ...]

    @property
    def scored(self) -> list[Scores]:
        return [row.scores for row in self.rows if row.scores is not None]

    @property
    def flagged(self) -> dict[str, list[str]]:
        return {row.name: list(row.flags) for row in self.rows if row.flags}

    def to_dict(self) -> dict[str, Any]:
        return {"pictures": len(self.rows), "scored": len(self.scored), **summary(self.scored), "flags": self.flagged}


def compare(
    predictions: Mapping[str, Path],
    masks: Mapping[str, Path],
    workers: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Scores every prediction whose mask is there. Both map a name to its file.

    A picture is not scored when its mask or its prediction is missing, cannot be read, has colours, or is of another
    size than the other; it is scored and flagged when mask or prediction is empty or all white.

    Raises:
        InputError: nothing is left to score.
    """
    names = sorted(set(predictions) | set(masks))
    jobs = [(name, predictions.get(name), masks.get(name)) for name in names]
    rows = []
    with _mapper(workers, len(jobs)) as mapper:
        for done, row in enumerate(mapper(_row, jobs), start=1):
            rows.append(row)
            if progress:
                progress(done, len(jobs))
    report = Report(tuple(rows))
    if not report.scored:
        first = next((f"{row.name}: {row.flags[0]}" for row in rows if row.flags), "no pictures")
        raise InputError(f"none of {len(rows)} pictures could be scored; the first: {first}")
    return report


@contextlib.contextmanager
def _mapper(workers: int, jobs: int) -> Iterator[Callable[..., Iterator[Row]]]:
    """`map`, over processes when there is more than one worker and more than one job."""
    count = min(workers, jobs, worker_limit())
    if count <= 1:
        yield map
        return
    # Fresh processes: one that was forked from a process with a framework's threads may hang.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool.map


def _row(job: tuple[str, Path | None, Path | None]) -> Row:
    name, prediction, mask = job
    if mask is None:
        return Row(name, None, ("no mask",))
    if prediction is None:
        return Row(name, None, ("no prediction",))
    try:
        ours, theirs = _bytes(prediction), _bytes(mask, by_maximum=True)
    except InputError as error:
        return Row(name, None, (str(error),))
    if ours.shape != theirs.shape:
        sizes = " and ".join(f"{plane.shape[1]}x{plane.shape[0]}" for plane in (ours, theirs))
        return Row(name, None, (f"other size: prediction and mask are {sizes}",))
    flags = [f"{what} {flag}" for what, plane in (("prediction", ours), ("mask", theirs)) if (flag := _blank(plane))]
    return Row(name, measure(ours, theirs), tuple(flags))


def _bytes(path: Path, *, by_maximum: bool = False) -> np.ndarray:
    """A grey picture as (H, W) uint8; one in 0/1 is stretched.

    Of more than 8 bits 255 is the full brightness of the file (see `depth`), or its maximum, which is what a true mask
    is divided by in training: it may hold 12 bits in 16.
    """
    picture = grey_image(path)
    deep = values_of(picture)
    if deep is None:
        values = np.asarray(picture)
        return values.astype(np.uint8) * 255 if values.dtype == bool else values
    values, full = deep[0][..., 0], deep[1]
    if by_maximum and values.max() > 0:
        full = float(values.max())
    return (values / full * 255).round().clip(0, 255).astype(np.uint8)


def _blank(plane: np.ndarray) -> str:
    if plane.max() <= 128:
        return "empty"
    return "all white" if plane.min() > 128 else ""


def write_csv(report: Report, path: Path) -> None:
    """One line per picture, then the means. Raises OutputError."""
    with staged(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["name", *MEASURES, "flags"])
        for row in report.rows:
            values = [f"{row.scores.values[m]:.6f}" if row.scores else "" for m in MEASURES]
            table.writerow([row.name, *values, "; ".join(row.flags)])
        means = summary(report.scored)
        table.writerow(["(all)", *[f"{means[m]:.6f}" for m in MEASURES], ""])


def write_curve(report: Report, path: Path) -> None:
    """Mean precision and recall at thresholds 255 … 0 as CSV. Raises OutputError."""
    precision, recall = (mean_curve(report.scored, name) for name in ("precision", "recall"))
    with staged(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["threshold", "precision", "recall"])
        for i, (p, r) in enumerate(zip(precision, recall, strict=True)):
            table.writerow([255 - i, f"{p:.6f}", f"{r:.6f}"])


def write_plot(reports: Sequence[tuple[str, Report]], path: Path) -> None:
    """Precision over recall as a PNG, one line per report. Raises OutputError, MissingExtraError."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("the plot", "matplotlib", "train") from None
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    for label, report in reports:
        axes.plot(mean_curve(report.scored, "recall"), mean_curve(report.scored, "precision"), label=label)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    with staged(path) as beside:
        figure.savefig(beside, dpi=150, format="png")
