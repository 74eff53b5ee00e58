"""Contestants in alternation on one tensor: each in a process of its own, one run of each per round."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OptionError, U2ZooError, one_line
from u2net_zoo.flops import flops
from u2net_zoo.system import scratch_folder

from ..embedded import EmbeddedPreprocessing
from ..isolated import LIMIT, IsolatedPredictor
from ..loading import format_of
from ..options import Options
from ..parity.outputs import difference
from ..parity.reference import Reference, picture_of
from ..predictor import Outputs
from ..registry import FORMATS
from .contestants import Contestant

__all__ = ["Race", "Row"]


@dataclass(frozen=True)
class Row:
    """What was measured of one contestant.

    Attributes:
        error: why it did not run; everything else is None then.
        median, low, high: seconds of a run: the median and the quartiles.
        memory: bytes, peak of its process on the host. device_memory: of its tensors on the GPU, where it is known.
        load: seconds until it was ready. bytes: of its file.
        gflops: of the network's work in the median's time. share: of what a matrix product reaches in its dtype.
        max_abs: largest absolute difference of its outputs to Torch in float64. ratio: to what Torch float32 loses.
        unit: of `max_abs` and `mean_abs`. Empty: of the outputs themselves. `grey levels`: of the picture that Torch
            and the profile answer, for a file that takes pictures. `of pixels`: the share that got another class.
    """

    name: str
    exact: bool = True
    error: str | None = None
    median: float | None = None
    low: float | None = None
    high: float | None = None
    runs: int = 0
    memory: int | None = None
    device_memory: int | None = None
    load: float | None = None
    bytes: int | None = None
    gflops: float | None = None
    share: float | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    ratio: float | None = None
    unit: str = ""
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
        peaks: GFLOP/s of a matrix product in each dtype, where they are known.
        limit: seconds for each answer of a runtime; a slower one is stopped, and its row says so.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        size: tuple[int, int],
        peaks: Mapping[str, float] | None = None,
        limit: float = LIMIT,
    ):
        self.checkpoint, self.peaks, self.limit = checkpoint, peaks or {}, limit
        self.reference = Reference(checkpoint, size)
        self.x = self.reference.inputs[:1]
        self.work = flops(checkpoint.arch, size) / 1e9

    def run(
        self, contestants: Sequence[Contestant], runs: int, tell: Callable[[str], None] = lambda text: None
    ) -> list[Row]:
        """A row for each contestant, in their order; a failure is a row too. Their names differ."""
        rows: dict[str, Row] = {}
        with scratch_folder() as folder:
            ready: dict[str, IsolatedPredictor] = {}
            try:
                for contestant in contestants:
                    tell(f"{contestant.name}: loading")
                    rows[contestant.name] = self._prepared(contestant, Path(folder), ready)
                times = self._alternate(ready, rows, runs, tell)
            finally:
                for predictor in ready.values():
                    predictor.close()
        return [self._measured(rows[c.name], times.get(c.name, []), self.peaks.get(c.dtype)) for c in contestants]

    def _prepared(self, contestant: Contestant, folder: Path, ready: dict[str, IsolatedPredictor]) -> Row:
        """Its row so far: size, load time, error against the reference. It is in `ready` when it runs."""
        row = Row(contestant.name, contestant.exact)
        try:
            if contestant.refusal:
                raise OptionError(contestant.refusal)
            arguments = dict(contestant.arguments)
            if contestant.converted:
                arguments["path"] = str(self._converted(contestant.converted, folder))
            row = replace(row, bytes=_bytes(Path(arguments["path"])))
            predictor = IsolatedPredictor(contestant.opener, arguments, contestant.environment, self.limit)
            ready[contestant.name] = predictor
            results = predictor(self._input_for(predictor))
            facts = {key: str(value) for key, value in predictor.facts.items()}
            row = replace(row, load=predictor.load, facts=facts)
            return self._judged(row, {k: v[:1] for k, v in results.items()}, predictor.embedded)
        except Exception as error:  # a runtime that is missing, refuses or breaks is a row, whatever it raises
            if contestant.name in ready:
                ready.pop(contestant.name).close()
            return _failed(row, error)

    def _input_for(self, predictor: IsolatedPredictor) -> np.ndarray:
        """The tensor or, for a file that takes pictures, the photograph in 8 bits; as often as its batch asks for."""
        embedded = predictor.embedded
        x = self._pixels(embedded).transpose(2, 0, 1)[None] if embedded else self.x
        return np.repeat(x, predictor.batch or 1, axis=0)

    def _pixels(self, embedded: EmbeddedPreprocessing) -> np.ndarray:
        """uint8 (H, W, 3)."""
        return embedded.profile.pixels(self.reference.images[0], self.reference.size)

    def _judged(self, row: Row, results: Outputs, embedded: EmbeddedPreprocessing | None) -> Row:
        """With its error: `results` are for one input."""
        if embedded:
            wanted = picture_of(self.reference.single, embedded, self._pixels(embedded)).astype(np.int16)
            off = np.abs(results["mask"][0, 0] - wanted)
            if embedded.classes > 1:
                share = float((off > 0).mean())
                return replace(row, max_abs=share, mean_abs=share, unit="of pixels")
            return replace(row, max_abs=float(off.max()), mean_abs=float(off.mean()), unit="grey levels")
        exact = {name: value[:1] for name, value in self.reference.exact.items()}
        names, largest, mean = difference(results, exact)
        noise = max(self.reference.noise[name] for name in names.values())
        return replace(row, max_abs=largest, mean_abs=mean, ratio=largest / max(noise, 1e-12))

    def _converted(self, name: str, folder: Path) -> Path:
        """The weights in a format, converted once; no proof, since every row is compared with the reference."""
        fmt = FORMATS[name]
        fmt.require()
        path = fmt.target(folder, "network")
        if not path.exists():
            fmt.write(self.checkpoint, path, fmt.settle(Options(size=self.reference.size)))
        return path

    def _alternate(
        self, ready: dict[str, IsolatedPredictor], rows: dict[str, Row], runs: int, tell: Callable[[str], None]
    ) -> dict[str, list[float]]:
        """Seconds of each run. A first round, which allocates and compiles, is not counted."""
        times: dict[str, list[float]] = {name: [] for name in ready}
        inputs = {name: self._input_for(predictor) for name, predictor in ready.items()}
        for turn in range(runs + 1):
            tell(f"round {turn} of {runs}")
            for name in list(ready):
                try:
                    seconds = ready[name].time(inputs[name]) / len(inputs[name])
                except U2ZooError as error:
                    rows[name] = _failed(rows[name], error)
                    ready.pop(name).close()
                    continue
                times[name] += [seconds] if turn else []
                rows[name] = replace(rows[name], memory=ready[name].memory, device_memory=ready[name].device_memory)
        return times

    def _measured(self, row: Row, times: list[float], peak: float | None) -> Row:
        if row.error or not times:
            return row
        median = statistics.median(times)
        low, high = (float(np.quantile(times, part)) for part in (0.25, 0.75))
        gflops = self.work / median
        share = gflops / peak if peak else None
        return replace(row, median=median, low=low, high=high, runs=len(times), gflops=gflops, share=share)


def _failed(row: Row, error: Exception) -> Row:
    return Row(row.name, row.exact, error=str(error) if isinstance(error, U2ZooError) else one_line(error))


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in format_of(path).files(path))
