"""`convert --dry-run`: everything that the real run would decide, and what it would refuse."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import InputError, MissingExtraError, install_hint
from u2net_zoo.files import check_writable
from u2net_zoo.flops import flops
from u2net_zoo.hub.hub_name import hub_name
from u2net_zoo.sources import Located, in_catalog

from ..format import Format
from ..loading import checked_name, format_of, name_of, open_source, with_catalog_notes
from ..options import DEFAULT_SIZE, Options, describe
from ..quantise.rounding import MEASURED
from .sizes import expected_bytes
from .targets import Target, at_the_size_of, check_options, formats_named, target_of
from .times import BASIS, expected_seconds, recorded_seconds, reference_seconds, start_seconds

__all__ = ["DryRun", "Step", "dry_run"]


@dataclass(frozen=True)
class Step:
    """What becomes of one format.

    Attributes:
        bytes: expected size; None where the network is not known before its weights are fetched.
        seconds: expected time of writing and proving; None: nothing says it.
        recorded: whether that is what it took the last time on this machine.
        missing: what has to be installed first.
    """

    target: Target
    bytes: int | None
    seconds: float | None
    recorded: bool
    missing: MissingExtraError | None

    @property
    def replaces(self) -> bool:
        """Whether an artifact of the same name is there."""
        return self.target.path.exists()

    def to_json(self) -> dict[str, Any]:
        missing = self.missing
        return {
            "format": self.target.fmt.name,
            "path": str(self.target.path),
            "beside": [str(path) for path in self.target.beside],
            "replaces": self.replaces,
            "options": in_force(self.target),
            "remarks": list(self.target.remarks),
            "bytes": self.bytes,
            "seconds": self.seconds and round(self.seconds, 1),
            "seconds_from": "record" if self.recorded else "estimate",
            "missing": missing
            and {"package": missing.package, "extra": missing.extra, "install": install_hint(missing.extra)},
        }


@dataclass(frozen=True)
class DryRun:
    """A conversion that was not done.

    Attributes:
        fetched: bytes of the weights that are fetched first; 0 where they are here, None where their size is unknown.
        runs_source: whether the source is a model, which is run and compared with its weights first.
    """

    source: str
    checkpoint: Checkpoint | None
    steps: tuple[Step, ...]
    fetched: int | None
    runs_source: bool

    @property
    def missing(self) -> list[MissingExtraError]:
        return [step.missing for step in self.steps if step.missing]

    @property
    def bytes(self) -> int | None:
        sizes = [step.bytes for step in self.steps]
        return None if None in sizes else sum(size for size in sizes if size)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the reference."""
        return self.steps[0].target.options.size or DEFAULT_SIZE

    @property
    def gflop(self) -> float | None:
        """Of one picture."""
        return flops(self.checkpoint.arch, self.size) / 1e9 if self.checkpoint else None

    @property
    def seconds(self) -> float | None:
        """Of everything but a download, with a reference that is not recorded yet; None: nothing says it of a step."""
        steps = [step.seconds for step in self.steps if step.seconds is not None]
        if self.checkpoint is None or len(steps) < len(self.steps):
            return None
        return start_seconds() + reference_seconds(self.checkpoint.arch, self.size) + sum(steps)

    def to_json(self) -> dict[str, Any]:
        arch = self.checkpoint and self.checkpoint.arch
        return {
            "source": self.source,
            "dry_run": True,
            "architecture": arch and arch.name,
            "parameters": arch and arch.parameters(),
            "gflop": self.gflop and round(self.gflop, 2),
            "download_bytes": self.fetched,
            "runs_source": self.runs_source,
            "bytes": self.bytes,
            "seconds": self.seconds and round(self.seconds, 1),
            "basis": BASIS,
            "steps": [step.to_json() for step in self.steps],
        }


def in_force(target: Target) -> dict[str, str]:
    """The options that a target's format knows, defaults among them, as people type them."""
    options = target.options
    values = asdict(options)
    sizes = "..".join(map(describe, options.span or ())) or ",".join(map(describe, options.sizes))
    named = {"minmax": options.stretch, "profile": options.profile, "calibration": options.calibration}
    return (
        {"size": sizes or describe(options.size)}
        | {name: describe(values[name], name) for name in target.fmt.choices if values[name] is not None}
        | {name: str(value).lower() for name, value in named.items() if value is not None}
    )


def dry_run(
    source: str | Path,
    to: Sequence[str] | str,
    out: str | Path = ".",
    *,
    name: str | None = None,
    options: Options | None = None,
    key: str | None = None,
    arch: str | None = None,
) -> DryRun:
    """What `convert` with the same arguments would write.

    Weights of the catalog that are not here are not fetched: the catalog says which network they are.

    Raises:
        U2ZooError: as `convert`, for everything that can be known without a network's run or a download; but packages
            that are missing are listed.
    """
    formats, called = formats_named(to), checked_name(name) if name is not None else None
    _check_here(source)
    asked = at_the_size_of(source, options or Options())
    check_options(formats, asked)
    entry = in_catalog(source)
    if entry and entry.cached() is None:
        first, network = entry.sources[0], entry.arch()
        located = Located(Path(first.file), entry)
        checkpoint = with_catalog_notes(Checkpoint(network, {}), located) if network else None
        steps = _steps(formats, asked, checkpoint, located, Path(out), called or entry.name)
        return DryRun(str(source), checkpoint, steps, first.total, runs_source=False)
    checkpoint, found = open_source(source, key, arch)
    steps = _steps(formats, asked, checkpoint, found, Path(out), called or name_of(found, checkpoint))
    return DryRun(str(source), checkpoint, steps, 0, runs_source=bool(found and format_of(found.path).has_graph))


def _check_here(source: str | Path) -> None:
    """Raises InputError for weights of the hub that would have to be fetched: nothing else says what they are."""
    name = None if Path(source).exists() else hub_name(source)
    if name is None:
        return
    from u2net_zoo.hub.hub_files import is_cached

    if not is_cached(name):
        raise InputError(f"{name}: not fetched yet, and a dry run fetches nothing; run `u2zoo fetch {name}` first")


def _steps(
    formats: Sequence[Format],
    asked: Options,
    checkpoint: Checkpoint | None,
    located: Located | None,
    out: Path,
    stem: str,
) -> tuple[Step, ...]:
    return tuple(_step(fmt, asked, checkpoint, located, fmt.target(out, stem)) for fmt in formats)


def _step(fmt: Format, asked: Options, checkpoint: Checkpoint | None, located: Located | None, path: Path) -> Step:
    missing = None
    try:
        fmt.require()
    except MissingExtraError as error:
        missing = error
    check_writable(path)
    if checkpoint is None:
        return Step(Target(fmt, fmt.settle(asked), path, {}), None, None, False, missing)
    target = target_of(fmt, asked, checkpoint, located, path)
    known = fmt, checkpoint.arch, target.options
    recorded = recorded_seconds(*known)
    searched = target.options.precision in MEASURED  # how long a search for layers takes, only a record can say
    seconds = recorded if recorded is not None or searched else expected_seconds(*known)
    return Step(target, expected_bytes(*known), seconds, recorded is not None, missing)
