"""Contestants in alternation on one tensor: each in a process of its own, one run of each per round."""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, U2ZooError, one_line

from ..base import Options
from ..matching import difference
from ..parity import Reference
from ..registry import FORMATS
from ..remote import LIMIT, RemotePredictor
from .contestants import Contestant
from .operations import flops

__all__ = ["Race", "Row"]


@dataclass(frozen=True)
class Row:
    """What was measured of one contestant.

    Attributes:
        error: why it did not run; everything else is None then.
        median, low, high: seconds of a run: the median and the quartiles.
        memory: bytes, peak of its process. load: seconds until it was ready. bytes: of its file.
        gflops: of the network's work in the median's time. share: of what a matrix product reaches.
        max_abs: largest absolute difference of its outputs to Torch in float64. ratio: to what Torch float32 loses.
    """

    name: str
    exact: bool = True
    error: str | None = None
    median: float | None = None
    low: float | None = None
    high: float | None = None
    runs: int = 0
    memory: int | None = None
    load: float | None = None
    bytes: int | None = None
    gflops: float | None = None
    share: float | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    ratio: float | None = None
    facts: Mapping[str, str] | None = None

    @property
    def per_second(self) -> float | None:
        return 1 / self.median if self.median else None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "images_per_second": self.per_second}


class Race:
    """A benchmark of one network.

    Args:
        checkpoint: what is right, and what converted files are made from.
        size: (H, W).
        peak: GFLOP/s of a matrix product, or None.
        limit: seconds for each answer of a runtime; a slower one is stopped, and its row says so.
    """

    def __init__(self, checkpoint: Checkpoint, size: tuple[int, int], peak: float | None = None, limit: float = LIMIT):
        self.checkpoint, self.peak, self.limit = checkpoint, peak, limit
        self.reference = Reference(checkpoint, size)
        self.x = self.reference.inputs[:1]
        self.work = flops(checkpoint.arch, size) / 1e9

    def run(
        self, contestants: Sequence[Contestant], runs: int, tell: Callable[[str], None] = lambda text: None
    ) -> list[Row]:
        """A row for each contestant, in their order; a failure is a row too."""
        rows: dict[str, Row] = {}
        with tempfile.TemporaryDirectory(prefix="u2zoo-") as folder:
            ready: dict[str, RemotePredictor] = {}
            try:
                for contestant in contestants:
                    tell(f"{contestant.name}: loading")
                    rows[contestant.name] = self._prepared(contestant, Path(folder), ready)
                times = self._alternate(ready, rows, runs, tell)
            finally:
                for predictor in ready.values():
                    predictor.close()
        return [self._measured(rows[c.name], times.get(c.name, [])) for c in contestants]

    def _prepared(self, contestant: Contestant, folder: Path, ready: dict[str, RemotePredictor]) -> Row:
        """Its row so far: size, load time, error against the reference. It is in `ready` when it runs."""
        row = Row(contestant.name, contestant.exact)
        try:
            arguments = dict(contestant.arguments)
            if contestant.converted:
                arguments["path"] = str(self._converted(contestant.converted, folder))
            row = replace(row, bytes=_bytes(Path(arguments["path"])))
            predictor = RemotePredictor(contestant.opener, arguments, contestant.environment, self.limit)
            ready[contestant.name] = predictor
            results = predictor(np.repeat(self.x, predictor.batch or 1, axis=0))
            exact = {name: value[:1] for name, value in self.reference.exact.items()}
            names, largest, mean = difference({k: v[:1] for k, v in results.items()}, exact)
            noise = max(self.reference.noise[name] for name in names.values())
            facts = {key: str(value) for key, value in predictor.facts.items()}
            row = replace(row, max_abs=largest, mean_abs=mean, ratio=largest / max(noise, 1e-12), facts=facts)
            return replace(row, load=predictor.load)
        except Exception as error:  # a runtime that is missing, refuses or breaks is a row, whatever it raises
            if contestant.name in ready:
                ready.pop(contestant.name).close()
            return _failed(row, error)

    def _converted(self, name: str, folder: Path) -> Path:
        """The weights in a format, converted once; no proof, since every row is compared with the reference."""
        fmt = FORMATS[name]
        fmt.require()
        path = fmt.target(folder, "network")
        if not path.exists():
            fmt.write(self.checkpoint, path, fmt.settle(Options(size=self.reference.size)))
        return path

    def _alternate(
        self, ready: dict[str, RemotePredictor], rows: dict[str, Row], runs: int, tell: Callable[[str], None]
    ) -> dict[str, list[float]]:
        """Seconds of each run. A first round, which allocates and compiles, is not counted."""
        times: dict[str, list[float]] = {name: [] for name in ready}
        inputs = {name: np.repeat(self.x, p.batch or 1, axis=0) for name, p in ready.items()}
        for turn in range(runs + 1):
            tell(f"round {turn} of {runs}")
            for name in list(ready):
                try:
                    seconds = ready[name].time(inputs[name]) / len(inputs[name])
                except (ArtifactError, U2ZooError) as error:
                    rows[name] = _failed(rows[name], error)
                    ready.pop(name).close()
                    continue
                times[name] += [seconds] if turn else []
                rows[name] = replace(rows[name], memory=ready[name].memory)
        return times

    def _measured(self, row: Row, times: list[float]) -> Row:
        if row.error or not times:
            return row
        median = statistics.median(times)
        low, high = (float(np.quantile(times, part)) for part in (0.25, 0.75))
        gflops = self.work / median
        share = gflops / self.peak if self.peak else None
        return replace(row, median=median, low=low, high=high, runs=len(times), gflops=gflops, share=share)


def _failed(row: Row, error: Exception) -> Row:
    return Row(row.name, row.exact, error=str(error) if isinstance(error, U2ZooError) else one_line(error))


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
