"""`u2zoo bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, OptionError, OutputError
from .console import state
from .fetch import fetch_source
from .options import parse_size

if TYPE_CHECKING:
    from converters.bench.contestants import Contestant
    from converters.bench.race import Row

    from ..checkpoint import Checkpoint

__all__ = ["bench"]

DEVICES = ("cpu", "cuda")


def bench(
    sources: Annotated[list[Path], typer.Argument(help="Weights (every runtime), artifacts (their own runtime).")],
    size: Annotated[str | None, typer.Option(help="Input size, N or HxW; if not given 320, or the catalog's.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, in alternation.")] = 10,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    only: Annotated[str, typer.Option(help="Runtimes whose names contain one of these words, by commas.")] = "",
    limit: Annotated[float, typer.Option(min=1, help="Seconds for one answer; a slower runtime is stopped.")] = 600,
    bf16: Annotated[bool, typer.Option("--bf16", help="On the CPU also in bfloat16, which is not exact.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw FILE.png or FILE.svg.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the table as FILE.md.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time every installed runtime on the same tensor, and say how exact each is."""
    state.json = json
    wanted = parse_size(size) if size is not None else None
    if device not in DEVICES:
        raise OptionError(f"device {device!r}; allowed: {', '.join(DEVICES)}")
    _check_targets(plot, markdown)
    for source in sources:
        fetch_source(source)
    with state.quiet(), state.progress() as bar:
        rows, document = _measure(sources, wanted, device, only, bf16, runs, limit, bar)
    _show(rows, document)
    _write(rows, document, plot, markdown)


def _measure(
    sources: list[Path],
    size: tuple[int, int] | None,
    device: str,
    only: str,
    bf16: bool,
    runs: int,
    limit: float,
    bar: Any,
) -> "tuple[list[Row], dict[str, Any]]":
    from converters.bench.operations import matmul_gflops
    from converters.bench.race import Race
    from converters.sources import read_source

    from ..preprocessing import get_profile
    from ..sources import locate

    located = [locate(source) for source in sources]
    checkpoint = read_source(located[0].path)
    side = get_profile(located[0].profile or "paper").size
    contestants = _contestants([found.path for found in located], size or (side, side), device, bf16, only)
    bar.update(bar.task_ids[0], description="a matrix product")
    peak = _peak(device, matmul_gflops)
    race = Race(checkpoint, size or _fixed_size(located[0].path) or (side, side), peak, limit)
    rows = race.run(contestants, runs, lambda text: bar.update(bar.task_ids[0], description=text))
    return rows, _document(sources, checkpoint, race.reference.size, device, race.work, peak)


def _contestants(paths: list[Path], size: tuple[int, int], device: str, bf16: bool, only: str) -> "list[Contestant]":
    """Raises InputError: nothing takes part."""
    from converters.bench.contestants import for_artifact, for_weights
    from converters.sources import format_of

    from ..api import WEIGHT_FILES

    found: list[Contestant] = []
    for path in paths:
        weights = format_of(path).name in WEIGHT_FILES
        found += list(for_weights(path, size, device, bf16)) if weights else [for_artifact(path)]
    words = [word.strip().lower() for word in only.split(",") if word.strip()]
    chosen = [c for c in found if not words or any(word in c.name.lower() for word in words)]
    if not chosen:
        raise InputError(f"--only {only}: none of these: {', '.join(c.name for c in found)}")
    return list({contestant.name: contestant for contestant in chosen}.values())


def _fixed_size(path: Path) -> tuple[int, int] | None:
    """The size that an artifact takes, where it takes one alone."""
    from converters.remote import open_remote
    from converters.sources import format_of

    from ..api import WEIGHT_FILES

    if format_of(path).name in WEIGHT_FILES:
        return None
    with open_remote(path) as predictor:
        return predictor.size


def _peak(device: str, measure: Any) -> float | None:
    import torch

    return measure(device) if device == "cpu" or torch.cuda.is_available() else None


def _document(
    sources: list[Path], checkpoint: "Checkpoint", size: tuple[int, int], device: str, work: float, peak: float | None
) -> dict[str, Any]:
    from converters.bench.machine import machine, versions

    return {
        "sources": [str(source) for source in sources],
        "architecture": checkpoint.arch.name,
        "size": list(size),
        "device": device,
        "machine": machine(device),
        "versions": versions(),
        "gflop": round(work, 2),
        "matmul_gflops": peak and round(peak, 1),
    }


def _check_targets(plot: Path | None, markdown: Path | None) -> None:
    for target, suffixes in ((plot, (".png", ".svg")), (markdown, (".md",))):
        if target and (target.suffix.lower() not in suffixes or target.is_dir()):
            raise OutputError(f"{target}: cannot write there; name a file that ends in {' or '.join(suffixes)}")


def _show(rows: "list[Row]", document: dict[str, Any]) -> None:
    state.document({**document, "rows": [row.to_json() for row in rows]})
    if state.json:
        return
    from converters.bench.tables import aligned

    state.result(_title(document))
    for line in aligned(rows):
        state.result(line)
    for row in rows:
        if row.error:
            state.result(f"{row.name}: not run: {row.error}")


def _title(document: dict[str, Any]) -> str:
    height, width = document["size"]
    return f"{document['architecture']} {height}x{width}, {document['gflop']} GFLOP, {document['machine']}"


def _write(rows: "list[Row]", document: dict[str, Any], plot: Path | None, markdown: Path | None) -> None:
    from converters.bench import tables

    from ..files import staged

    if plot:
        tables.plot(rows, plot, _title(document))
        state.result(str(plot))
    if markdown:
        versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
        peak = f"\nA float32 matrix product reaches {document['matmul_gflops']:,} GFLOP/s.\n" * bool(
            document["matmul_gflops"]
        )
        with staged(markdown) as path:
            path.write_text(f"# {_title(document)}\n\n{versions}\n{peak}\n{tables.markdown(rows)}", encoding="utf-8")
        state.result(str(markdown))
