"""The losses of a run, as a table and as a chart: `losses.csv` and `losses.png` in its folder."""

import csv
import math
from importlib.util import find_spec
from pathlib import Path

from ..files import staged

__all__ = ["LossRecord"]

TABLE, CHART = "losses.csv", "losses.png"
HEADINGS = ("step", "loss", "validation")


class LossRecord:
    """Losses by step, kept over interruptions; written after each epoch. Without matplotlib there is no chart.

    Args:
        folder: of the run.
        done: steps that were made before; what the folder's table says of them is kept, of later ones it is not.
        on: False writes nothing.
    """

    def __init__(self, folder: Path, done: int = 0, on: bool = True):
        self.folder, self.on = folder, on
        self.losses: dict[int, float] = {}
        self.validations: dict[int, float] = {}
        if on and done:
            self._read(done)

    def step(self, step: int, loss: float) -> None:
        self.losses[step] = loss

    def validated(self, step: int, value: float) -> None:
        self.validations[step] = value

    def write(self) -> None:
        """Raises OutputError."""
        if not self.on or not self.losses:
            return
        with staged(self.folder / TABLE) as path, path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(HEADINGS)
            steps = sorted({*self.losses, *self.validations})
            table.writerows((n, _text(self.losses.get(n)), _text(self.validations.get(n))) for n in steps)
        if find_spec("matplotlib"):
            self._draw()

    def _draw(self) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot(xlabel="step", ylabel="loss", yscale="log")
        axes.plot(list(self.losses), list(self.losses.values()), linewidth=0.8, label="training")
        if self.validations:
            axes.plot(list(self.validations), list(self.validations.values()), marker="o", label="validation")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
        with staged(self.folder / CHART) as path:
            figure.savefig(path, dpi=120, format="png")

    def _read(self, done: int) -> None:
        """What an earlier part of the run wrote; a table that is damaged, or not there, is begun anew."""
        try:
            with (self.folder / TABLE).open(newline="", encoding="utf-8") as file:
                rows = [(int(row["step"]), row["loss"], row["validation"]) for row in csv.DictReader(file)]
            for step, loss, validation in rows:
                if step <= done:
                    self.losses |= {step: float(loss)} if loss else {}
                    self.validations |= {step: float(validation)} if validation else {}
        except (OSError, ValueError, KeyError, TypeError):
            self.losses, self.validations = {}, {}


def _text(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
