"""The main job: a checkpoint in, artifacts out, each proved before it is kept."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, ExportError, OutputError, U2ZooError, one_line
from u2net_zoo.files import staged
from u2net_zoo.sources import Located

from .format import Format
from .loading import checked_name, format_of, name_of, open_source
from .memory import release_memory, trim_memory
from .options import DEFAULT_SIZE, Options
from .parity.gate import prove
from .parity.reference import Reference
from .parity_report import Report
from .planning.targets import Target, at_the_size_of, check_options, formats_named, target_of
from .planning.times import remember
from .progress import Watcher, watched
from .quantise.mixed_precision import Plan
from .verify.known_inputs import keep
from .verify.self_check import Agreement, agreement

__all__ = ["Artifact", "convert"]

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
        remarks: what somebody who takes it into a program has to know of it; a sentence each.
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
    remarks: tuple[str, ...] = ()

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
            "remarks": list(self.remarks),
        }


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
        name: stem of the files; the source's own by default. Core ML's class in Swift is called after it.
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
    formats, called = formats_named(to), checked_name(name) if name is not None else None
    asked = at_the_size_of(source, options or Options())
    check_options(formats, asked)
    for fmt in formats:
        fmt.require()
    checkpoint, located = open_source(source, key, arch)
    stem = called or name_of(located, checkpoint)
    targets = [target_of(fmt, asked, checkpoint, located, fmt.target(Path(out), stem)) for fmt in formats]
    for target in targets:
        target.fmt.prepare()
    proof = _source_proof(located, checkpoint, trust_weights)
    reference = Reference(checkpoint, targets[0].options.size or DEFAULT_SIZE, asked.calibration)
    artifacts = []

    def ready() -> None:
        trim_memory()
        referenced()

    with reference.beside(ready):
        for target in targets:
            started(target.fmt.name)
            with watched(doing):
                artifacts.append(replace(_make(target, checkpoint, reference), source=proof))
            release_memory()
            finished(artifacts[-1])
    return artifacts


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
    raise ArtifactError(f"{located.path}: {found.summary()}; --trust-weights converts its weights anyway")


def _make(target: Target, checkpoint: Checkpoint, reference: Reference) -> Artifact:
    start = time.perf_counter()
    fmt, options = target.fmt, target.options
    with staged(target.path) as path:
        plan = _write(fmt, checkpoint, path, options)
        written = time.perf_counter()
        report = prove(fmt, path, options, reference)
        proof = time.perf_counter() - written
        fmt.finish(path, checkpoint, options, report)
        size = _bytes(path)
        for file, text in target.beside.items():
            with staged(file) as companion:
                companion.write_text(text, encoding="utf-8", newline="\n")
    if fmt.has_graph and options.io != "image":
        keep(fmt, target.path, "normalised")
    seconds = time.perf_counter() - start
    remember(fmt, checkpoint.arch, options, seconds)
    return Artifact(
        fmt.name,
        target.path,
        size,
        seconds,
        options,
        report,
        tuple(target.beside),
        plan,
        assumed=checkpoint.assumed,
        proof_seconds=proof,
        reference_seconds=reference.seconds,
        remarks=target.remarks,
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
