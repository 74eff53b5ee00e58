"""Which engine runs some weights: the fastest that is right, tried once, and what it runs, written once."""

import contextlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from u2net_zoo import __version__
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.devices import AUTO, CPU
from u2net_zoo.errors import AssumptionWarning, OptionError, U2ZooError
from u2net_zoo.preprocessing import Profile
from u2net_zoo.system import scratch_folder

from ..predictor import Predictor
from ..registry import FORMATS
from . import kept
from .kept import Kept, Row
from .runtimes import TORCH, Candidate, candidate, candidates
from .surroundings import Surroundings, digest_of, versions_of
from .trial import BUDGET, LIMIT, Trial, Tried

__all__ = ["VARIABLE", "Choice", "Weights", "open_engine"]

VARIABLE = "U2ZOO_RUNTIME"
WRITTEN = 1  # raised when what `write_to_run` or `write_network` writes changes: older files are not run any more
PATIENCE = 3 * (BUDGET + LIMIT)  # seconds for another process's trial
LEAD = 1.15  # times as fast as the next one: on a machine that others use, its lead turns round (see `mnn_runtime`)
CHANNELS = 3  # of a photograph: other networks cannot be tried on one


@dataclass(frozen=True)
class Weights:
    """What is to be run.

    Attributes:
        digest: the same for equal ones.
        read: reads them; warns of what they do not say.
        source: where they came from, for people; empty for a checkpoint.
    """

    digest: str
    read: Callable[[], Checkpoint]
    source: str = ""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        name: as after `--runtime`. runtime: the package that computes.
        seconds: runtime -> seconds of a photograph, of all that were timed, the fastest first.
        struck: runtime -> why it is out.
        new: people have not been told yet.
        why: something that they should know of it.
    """

    name: str
    runtime: str
    device: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    struck: Mapping[str, str] = field(default_factory=dict)
    new: bool = False
    why: str = ""

    @classmethod
    def of(cls, name: str, device: str) -> "Choice":
        """What was asked for, or is the only one that runs a file."""
        return cls(name, candidate(name).runtime, device)

    def __str__(self) -> str:
        """`engine: openvino, 182 ms a photograph (onnxruntime 204, torch 290)`."""
        on = "" if self.device == CPU else f" on {self.device}"
        own = self.seconds.get(self.runtime)
        speed = f", {1000 * own:.0f} ms a photograph" if own else ""
        others = [f"{name} {1000 * each:.0f}" for name, each in self.seconds.items() if name != self.runtime]
        beside = f" ({', '.join(others)})" if others else ""
        out = "".join(f"; not {name}: {why}" for name, why in self.struck.items())
        why = f"; {self.why}" if self.why else ""
        return f"engine: {self.runtime}{on}{speed}{beside}{out}{why}"


def open_engine(
    weights: Weights,
    profile: Profile,
    size: tuple[int, int],
    device: str = CPU,
    among: Sequence[Candidate] | None = None,
) -> tuple[Predictor, Choice]:
    """The weights in the fastest of the runtimes that are installed and can take the device.

    `U2ZOO_RUNTIME` names the one that is taken without a trial.

    Args:
        size: (H, W) that it is made for.
        among: which may be chosen; None: all that are installed and have the device.

    Raises:
        OptionError: no runtime here takes the device. InputError, MissingExtraError: the weights cannot be read or run.
    """
    found = _named(list(among or candidates(device)), device)
    if [each.name for each in found] == [TORCH]:
        return found[0].of(weights.read(), device), Choice(TORCH, TORCH, device)
    return _Engine(weights, profile, size, device, found).decide()


def _named(found: list[Candidate], device: str) -> list[Candidate]:
    """All of them, or the one that the environment names. Raises OptionError."""
    name = os.environ.get(VARIABLE) or AUTO
    if name == AUTO:
        return found
    chosen = [each for each in found if name in (each.name, each.runtime)]
    if not chosen:
        here = ", ".join([AUTO, *(each.name for each in found)])
        raise OptionError(f"{VARIABLE}={name!r}: no runtime that is installed for {device}; here are: {here}")
    return chosen


class _Engine:
    """The choice for some weights at one size, made or remembered."""

    def __init__(
        self, weights: Weights, profile: Profile, size: tuple[int, int], device: str, found: Sequence[Candidate]
    ):
        self.weights, self.profile, self.size, self.device = weights, profile, size, device
        self.found = {each.name: each for each in found}
        self.usual = self.found.get(TORCH) or found[0]
        self.here = Surroundings.here(found, size, device)
        self.key = self.here.key(weights.digest, WRITTEN, __version__)

    def decide(self) -> tuple[Predictor, Choice]:
        if (known := self._known()) is None:
            with kept.locked(PATIENCE):
                known = self._known() or self._decided()  # another process may have decided meanwhile
        return known

    def _known(self) -> tuple[Predictor, Choice] | None:
        """As it was decided before; what is to be run is written anew where it is not whole."""
        record = kept.read("chosen", self.key) or {}
        chosen, rows = self.found.get(str(record.get("engine"))), kept.rows_of(record)
        if chosen is None or rows is None:
            return None
        place, choice = self._place(chosen), self._choice(chosen, rows)
        if not place.whole(record.get("sha256")):
            checkpoint = self.weights.read()
            with contextlib.suppress(U2ZooError):
                return self._opened(chosen, checkpoint, rows), choice
            return None
        try:
            predictor = chosen.open(place.path, self.device)
        except (U2ZooError, OSError):  # another process may have made room meanwhile
            return None
        for text in (record.get("assumed") or ()) if self.weights.source else ():
            warnings.warn(f"{self.weights.source}: {text}", AssumptionWarning, stacklevel=5)
        return predictor, choice

    def _decided(self) -> tuple[Predictor, Choice]:
        """By trial, unless there is nothing to choose, or it could not be remembered."""
        checkpoint = self.weights.read()
        if len(self.found) == 1 or checkpoint.arch.in_ch != CHANNELS:
            return self._opened(self.usual, checkpoint, []), self._choice(self.usual, [])
        if not kept.writable():
            why = f"nothing was tried, as {kept.folder_of_all()} cannot be written"
            return self._opened(self.usual, checkpoint, []), self._choice(self.usual, [], why)
        with scratch_folder() as folder:
            rows, tried = self._measured(checkpoint, Path(folder))
            made = {one.candidate.name: one.file for one in tried if not one.error}
            for name in [name for name in _ranking(rows) if name in made]:  # the others were not seen on these weights
                try:
                    predictor = self._opened(self.found[name], checkpoint, rows, made.get(name))
                    return predictor, self._choice(self.found[name], rows, new=any(one.seconds for one in tried))
                except U2ZooError as error:
                    rows = [_row(self.found[name], None, str(error)) if row["engine"] == name else row for row in rows]
        if self.device != CPU:
            prefix = f"--device {self.device}: "
            struck = "; ".join(f"{row['runtime']}: {row['error'].removeprefix(prefix)}" for row in rows)
            raise OptionError(f"--device {self.device}: nothing ran there: {struck}")
        return self._opened(self.usual, checkpoint, rows), self._choice(self.usual, rows, new=True)

    def _measured(self, checkpoint: Checkpoint, folder: Path) -> tuple[list[Row], list[Tried]]:
        """What is known of each candidate, and what this process has tried.

        Speed is the architecture's, so it is measured once; that an engine is right is seen with each new weights.
        """
        key = self.here.key(repr(checkpoint.arch.fold()))
        rows = kept.rows_of(kept.read("measured", key) or {})
        if rows and (two := [self.found[name] for name in _ranking(rows) if name in self.found][:2])[1:]:
            tried = self._trial(checkpoint, folder / "two").run(two, timed=False)
            if not any(one.error for one in tried):
                return rows, tried
        tried = self._trial(checkpoint, folder / "all").run(list(self.found.values()))
        fresh = [_row(one.candidate, one.seconds, one.error) for one in tried]
        if rows is None:
            about = {"architecture": checkpoint.arch.name, "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}
            kept.write("measured", key, {**asdict(self.here), **about, "rows": fresh})
        return fresh, tried

    def _trial(self, checkpoint: Checkpoint, folder: Path) -> Trial:
        folder.mkdir()
        return Trial(checkpoint, self.profile, self.size, self.device, folder)

    def _opened(
        self, chosen: Candidate, checkpoint: Checkpoint, rows: list[Row], made: Path | None = None
    ) -> Predictor:
        """The engine on its file, which is kept, as is the choice. Raises U2ZooError."""
        folder = None
        if made is None:
            folder = scratch_folder()
            made = chosen.file(Path(folder.name))
            chosen.write(checkpoint, made, self.size)
        path = self._place(chosen).take(made)
        if path == made and folder is None:  # not kept: it must outlive the trial
            return self._opened(chosen, checkpoint, rows)
        predictor = chosen.open(path, self.device)
        predictor.scratch = folder if path == made else None
        record = {"engine": chosen.name, "sha256": kept.sha256_of(path), "rows": rows}
        kept.write("chosen", self.key, {**record, "assumed": list(checkpoint.assumed)})
        return predictor

    def _place(self, chosen: Candidate) -> Kept:
        key = [self.weights.digest, chosen.name, versions_of([chosen]), self.size, WRITTEN, __version__]
        return Kept(digest_of(key), chosen.file(Path()).name)

    def _choice(self, chosen: Candidate, rows: list[Row], why: str = "", new: bool = False) -> Choice:
        timed = sorted((row for row in rows if row["seconds"] and not row["error"]), key=lambda row: row["seconds"])
        struck = {row["runtime"]: row["error"] for row in rows if row["error"]}
        seconds = {row["runtime"]: row["seconds"] for row in timed}
        return Choice(chosen.name, chosen.runtime, self.device, seconds, struck, new or bool(why), why)


def _row(each: Candidate, seconds: float | None, error: str) -> Row:
    return {"engine": each.name, "runtime": each.runtime, "seconds": seconds, "error": error}


def _ranking(rows: list[Row]) -> list[str]:
    """Names of those that may be chosen, the fastest first; one that others' work slows down has to lead clearly."""
    good = [row for row in rows if row["seconds"] and not row["error"]]
    slower = {name: LEAD for name, fmt in FORMATS.items() if not fmt.steady}
    return [row["engine"] for row in sorted(good, key=lambda row: row["seconds"] * slower.get(row["engine"], 1))]
