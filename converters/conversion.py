"""The main job: a checkpoint in, artifacts out, each proved before it is kept."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import (
    ArtifactError,
    ExportError,
    OptionError,
    OutputError,
    U2ZooError,
    UnknownNameError,
    one_line,
)
from u2net_zoo.files import staged
from u2net_zoo.preprocessing import get_profile
from u2net_zoo.sources import Located, known_profile

from . import sample_images
from .embedded import embedded_of
from .format import Format
from .loading import format_of, name_of, open_source
from .memory import release_memory, trim_memory
from .options import DEFAULT_SIZE, Options
from .parity.gate import prove
from .parity.reference import Reference
from .parity_report import Report
from .progress import Watcher, watched
from .quantise.mixed_precision import Plan
from .registry import FORMATS
from .verify.known_inputs import keep
from .verify.self_check import Agreement, agreement

__all__ = ["Artifact", "check_options", "convert", "formats_named"]

LEAST_FREE = 1 << 16  # bytes; with less, an exporter's error is taken for a full disk, whatever it says


@dataclass(frozen=True)
class Artifact:
    """One file or folder that was written.

    Attributes:
        bytes: its size on disk.
        seconds: writing and proving together.
        proof_seconds: of them, proving: running it, comparing it, and waiting for the reference where it is not there.
        reference_seconds: what the float64 reference and its noise floor took, once for all artifacts of a call and
            beside the writing; 0 where they were recorded or remembered.
        report: what the gate found.
        beside: files that were written next to it.
        plan: which layers were rounded and what each costs, at a precision that is measured.
        source: whether the source, where it is a model itself, computes what its weights mean; None for weights.
        assumed: what the source did not say of its weights, and what was taken for it.
    """

    format: str
    path: Path
    bytes: int
    seconds: float
    options: Options
    report: Report
    beside: tuple[Path, ...] = ()
    plan: Plan | None = None
    source: Agreement | None = None
    assumed: tuple[str, ...] = ()
    proof_seconds: float = 0.0
    reference_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "format": self.format,
            "path": str(self.path),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "proof_seconds": round(self.proof_seconds, 3),
            "reference_seconds": round(self.reference_seconds, 3),
            "options": {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self.options).items()},
            "parity": self.report.to_json(),
            "beside": [str(path) for path in self.beside],
            "quantised": self.plan and self.plan.to_json(),
            "source": self.source and self.source.to_json(),
            "assumed": list(self.assumed),
        }


def formats_named(names: Sequence[str] | str) -> list[Format]:
    """Formats of a list or of a comma-separated string; `all` stands for every one that needs no network.

    Raises:
        UnknownNameError: there is no such format.
    """
    wanted = names.split(",") if isinstance(names, str) else list(names)
    wanted = [name.strip().lower() for name in wanted if name.strip()]
    every = [name for name, fmt in FORMATS.items() if not fmt.downloads] if "all" in wanted else []
    chosen = every + [name for name in wanted if name != "all"]
    for name in chosen or [""]:
        if name not in FORMATS:
            raise UnknownNameError("format", name, FORMATS)
    return [FORMATS[name] for name in dict.fromkeys(chosen)]


def check_options(formats: Sequence[Format], options: Options) -> None:
    """What can be said before any work, a download among it.

    Raises:
        UsageError: a format cannot honour an option. InputError: the calibration folder holds no photographs.
    """
    for fmt in formats:
        fmt.settle(options)
    if options.calibration is not None:
        sample_images.listed(options.calibration)


def convert(
    source: str | Path | Checkpoint,
    to: Sequence[str] | str,
    out: str | Path = ".",
    *,
    name: str | None = None,
    options: Options | None = None,
    trust_weights: bool = False,
    key: str | None = None,
    arch: str | None = None,
    started: Callable[[str], None] = lambda name: None,
    finished: Callable[[Artifact], None] = lambda artifact: None,
    doing: Watcher = lambda text: None,
    referenced: Callable[[], None] = lambda: None,
) -> list[Artifact]:
    """Writes `source` in every format of `to` into the folder `out`, and proves each file before it gets its name.

    What Torch answered is remembered for the next conversion of the same weights, up to 96 MiB of it, until
    `converters.torch_predictor.ANSWERS.clear()`; the reference is also recorded under `U2ZOO_HOME`.

    Args:
        source: a weight file, a converted model of any format, a name in the catalog, or a checkpoint.
        to: format names, or `"all"`.
        name: stem of the files; the source's own by default.
        options: see `Options`; checked for every format before any work is done. The size of the catalog's weights
            is their profile's by default.
        trust_weights: go on when the source is a model that does not compute what its weights mean.
        key, arch: see `read_source`.
        started, finished: called with each format's name and artifact, for progress.
        doing: called with what a long step is at.
        referenced: called when the reference is there, from the thread that computed it.

    Raises:
        UsageError: a format is unknown, lacks its packages, or cannot honour an option.
        InputError: the source cannot be used, or does not compute what its weights mean.
        DownloadError: it could not be fetched. OutputError: a file cannot be written.
        ParityError: an artifact differs from the source; it was not kept, earlier ones were.
        ExportError: a framework's exporter broke.
    """
    formats = formats_named(to)
    asked = _sized(source, options or Options())
    check_options(formats, asked)
    for fmt in formats:
        fmt.require()
    checkpoint, located = open_source(source, key, arch)
    stem = name or name_of(located, checkpoint)
    jobs = [_job(fmt, asked, checkpoint, located, fmt.target(Path(out), stem)) for fmt in formats]
    proof = _source_proof(located, checkpoint, trust_weights)
    reference = Reference(checkpoint, jobs[0].options.size or DEFAULT_SIZE, asked.calibration)
    artifacts = []

    def ready() -> None:
        trim_memory()
        referenced()

    with reference.beside(ready):
        for job in jobs:
            started(job.fmt.name)
            with watched(doing):
                artifacts.append(replace(_make(job.fmt, checkpoint, job.target, job.options, reference), source=proof))
            release_memory()
            finished(artifacts[-1])
    return artifacts


@dataclass(frozen=True)
class _Job:
    fmt: Format
    options: Options
    target: Path


def _job(fmt: Format, asked: Options, checkpoint: Checkpoint, located: Located | None, target: Path) -> _Job:
    """One format's options in force, checked against the network and against what lies at `target`."""
    options = _fall_back_to_tensor(fmt, asked, _with_profile(fmt, fmt.settle(asked), located), checkpoint)
    fmt.check(checkpoint, options)
    fmt.check_target(target)
    if located and target.exists() and target.samefile(located.path):
        raise OutputError(f"{target}: would replace the source itself; name another folder with -o")
    for file, text in fmt.companions(target, checkpoint, options).items():
        _check_beside(file, text, target)
    return _Job(fmt, options, target)


def _check_beside(file: Path, text: str, target: Path) -> None:
    """Raises OutputError where `file` is somebody else's: its first line says what it was made for."""
    if file.is_dir() or (file.exists() and not file.read_bytes().startswith(text.partition("\n")[0].encode())):
        raise OutputError(f"{file}: was not written for {target.name}; move it or name another folder with -o")


def _source_proof(located: Located | None, checkpoint: Checkpoint, trusted: bool) -> Agreement | None:
    """A source that is a model, beside the weights that were read from it: what is written comes from these alone.

    Raises:
        ArtifactError: it does not compute what they mean.
    """
    fmt = format_of(located.path) if located else None
    if located is None or fmt is None or not fmt.has_graph:
        return None
    found = agreement(fmt, located.path, checkpoint)
    if found.ok or found.skipped or trusted:
        return found
    raise ArtifactError(f"{located.path}: {found.summary()}; --trust-weights converts its weights all the same")


def _sized(source: str | Path | Checkpoint, options: Options) -> Options:
    """`options`, at the size that weights of a known profile were trained for when no other was asked for."""
    if isinstance(source, Checkpoint) or options.size is not None:
        return options
    profile = known_profile(source)
    if profile is None:
        return options
    side = get_profile(profile).size
    return replace(options, size=(side, side))


def _with_profile(fmt: Format, options: Options, located: Located | None) -> Options:
    """The profile that an artifact gets which prepares pictures: what was asked for, or what belongs to the weights."""
    if (options.io != "image" and not fmt.prepares) or options.profile:
        return options
    return replace(options, profile=(located.profile if located else None) or "paper")


def _fall_back_to_tensor(fmt: Format, asked: Options, chosen: Options, checkpoint: Checkpoint) -> Options:
    """The tensor, where pictures are a format's default but not for this network: grey ones, classes without names."""
    if chosen.io != "image" or (asked.io, asked.profile, asked.stretch) != (None, None, None):
        return chosen
    try:
        embedded_of(checkpoint.arch, chosen)
    except OptionError:
        return fmt.settle(replace(asked, io="tensor"))
    return chosen


def _make(fmt: Format, checkpoint: Checkpoint, target: Path, options: Options, reference: Reference) -> Artifact:
    start = time.perf_counter()
    beside = fmt.companions(target, checkpoint, options)
    with staged(target) as path:
        plan = _write(fmt, checkpoint, path, options)
        written = time.perf_counter()
        report = prove(fmt, path, options, reference)
        proof = time.perf_counter() - written
        fmt.finish(path, checkpoint, options, report)
        size = _bytes(path)
        for file, text in beside.items():
            with staged(file) as companion:
                companion.write_text(text, encoding="utf-8", newline="\n")
    if fmt.has_graph and options.io != "image":
        keep(fmt, target, "normalised")
    return Artifact(
        fmt.name,
        target,
        size,
        time.perf_counter() - start,
        options,
        report,
        tuple(beside),
        plan,
        assumed=checkpoint.assumed,
        proof_seconds=proof,
        reference_seconds=reference.seconds,
    )


def _write(fmt: Format, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
    try:
        return fmt.write(checkpoint, path, options)
    except (U2ZooError, OSError, MemoryError):
        raise
    except Exception as error:  # exporters raise anything
        if "No space left" in str(error) or shutil.disk_usage(path.parent).free < LEAST_FREE:
            raise OutputError(f"{path.name}: cannot write it: No space left on device") from error
        raise ExportError(f"{fmt.name}: the exporter failed: {one_line(error)}") from error


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
