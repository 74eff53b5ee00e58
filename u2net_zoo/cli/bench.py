"""`u2zoo bench`."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, OptionError, OutputError
from . import completion
from .console import state
from .fetch import fetch_source
from .options import parse_size
from .terminal import Whole

if TYPE_CHECKING:
    from converters.bench.contestants import Contestant
    from converters.bench.race import Row

__all__ = ["EXAMPLES", "bench"]

EXAMPLES = {
    "Every installed runtime, with a chart": "u2zoo bench u2netp --plot speed.png",
    "A quick look at two runtimes": "u2zoo bench u2net_nano --only ncnn,mnn --runs 3",
}

DEVICES = ("cpu", "cuda")


def bench(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Weights, which every runtime runs, or models converted from them, which run in their own.",
            autocompletion=completion.sources,
        ),
    ],
    size: Annotated[
        str | None, typer.Option(help="Input size, N or HxW; by default the models', the catalog's, or 320.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; runtimes take turns.")] = 10,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    only: Annotated[
        str, typer.Option(help="Only runtimes whose names contain one of these words, comma-separated.")
    ] = "",
    limit: Annotated[
        float, typer.Option(min=1, help="Time limit of one run in seconds; a slower runtime is stopped.")
    ] = 600,
    bf16: Annotated[bool, typer.Option("--bf16", help="Also in bfloat16 on the CPU, which is not exact.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw a chart, FILE.png or FILE.svg.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the table as FILE.md.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time every installed runtime, and measure how exact it is."""
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
    from converters.bench.network import fixed_size, one_network
    from converters.bench.race import Race

    from ..preprocessing import get_profile
    from ..sources import locate

    located = [locate(source) for source in sources]
    weights, artifacts = _sort_paths([found.path for found in located])
    against, checkpoint = one_network(weights, artifacts)
    side = get_profile(next((found.profile for found in located if found.profile), "paper")).size
    size = size or fixed_size(artifacts) or (side, side)
    contestants = _contestants(weights, artifacts, size, device, bf16, only)
    bar.update(bar.task_ids[0], description="a matrix product")
    peaks = _peaks(device, contestants)
    race = Race(checkpoint, size, peaks, limit)
    rows = race.run(contestants, runs, lambda text: bar.update(bar.task_ids[0], description=text))
    return rows, {
        "sources": [str(source) for source in sources],
        "against": next(str(s) for s, found in zip(sources, located, strict=True) if found.path == against),
        "architecture": checkpoint.arch.name,
        "size": list(size),
        **_machine(device),
        "gflop": round(race.work, 2),
        "matmul_gflops": {dtype: round(peak, 1) for dtype, peak in peaks.items()},
    }


def _sort_paths(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Weight files and artifacts; each once. Raises InputError: of no known kind."""
    from converters.loading import format_of

    once: dict[str, Path] = {}
    for path in paths:
        once.setdefault(os.path.abspath(path), path)
    weights = [path for path in once.values() if not format_of(path).has_graph]
    return weights, [path for path in once.values() if path not in weights]


def _contestants(
    weights: list[Path], artifacts: list[Path], size: tuple[int, int], device: str, bf16: bool, only: str
) -> "list[Contestant]":
    """Raises InputError: nothing takes part."""
    from converters.bench.contestants import for_artifact, for_weights
    from converters.bench.network import row_names

    found = [contestant for path in weights for contestant in for_weights(path, size, device, bf16)]
    names = row_names(artifacts, [contestant.name for contestant in found])
    found += [for_artifact(path, name, device) for path, name in zip(artifacts, names, strict=True)]
    words = [word.strip().lower() for word in only.split(",") if word.strip()]
    chosen = [c for c in found if not words or any(word in c.name.lower() for word in words)]
    if not chosen:
        raise InputError(f"--only {only}: none of these: {', '.join(c.name for c in found)}")
    return chosen


def _peaks(device: str, contestants: "list[Contestant]") -> dict[str, float]:
    """GFLOP/s of a matrix product in every dtype that takes part; empty where there is no such device."""
    import torch

    from converters.bench.operations import matmul_gflops

    if device == "cuda" and not torch.cuda.is_available():
        return {}
    dtypes = dict.fromkeys(contestant.dtype for contestant in contestants if not contestant.refusal)
    return {dtype: matmul_gflops(device, dtype) for dtype in dtypes}


def _machine(device: str) -> dict[str, Any]:
    from converters.bench.machine import machine, versions

    return {"device": device, "machine": machine(device), "versions": versions()}


def _check_targets(plot: Path | None, markdown: Path | None) -> None:
    """Before the work. Raises OutputError, MissingExtraError."""
    for target, suffixes in ((plot, (".png", ".svg")), (markdown, (".md",))):
        if target and (target.suffix.lower() not in suffixes or target.is_dir()):
            raise OutputError(f"{target}: cannot write there; name a file that ends in {' or '.join(suffixes)}")
        if target:
            _check_writable(target)
    if plot:
        from converters.bench.tables import require_plot

        require_plot()


def _check_writable(target: Path) -> None:
    """Tries it in the lowest folder that is there; nothing is made. Raises OutputError."""
    try:
        with tempfile.TemporaryFile(dir=next(folder for folder in target.absolute().parents if folder.exists())):
            return
    except OSError as error:
        raise OutputError(f"{target}: cannot write there: {error.strerror}") from None


def _show(rows: "list[Row]", document: dict[str, Any]) -> None:
    state.document({**document, "rows": [row.to_json() for row in rows]})
    if state.json:
        return
    from converters.bench.tables import aligned

    state.result(_title(document))
    state.result(_reference_line(document))
    for line in aligned(rows, state.width()):
        state.result(Whole(line))
    for row in rows:
        if row.error:
            state.result(f"{row.name}: not run: {row.error}")


def _title(document: dict[str, Any]) -> str:
    height, width = document["size"]
    return f"{document['architecture']} {height}x{width}, {document['gflop']} GFLOP, {document['machine']}"


def _reference_line(document: dict[str, Any]) -> str:
    return f"Errors are against {document['against']} in Torch float64."


def _write(rows: "list[Row]", document: dict[str, Any], plot: Path | None, markdown: Path | None) -> None:
    from converters.bench import tables

    from ..files import staged

    if plot:
        tables.plot(rows, plot, _title(document))
        state.result(plot)
    if markdown:
        versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
        peaks = ", ".join(f"{peak:,} in {dtype}" for dtype, peak in document["matmul_gflops"].items())
        peaks = f" A matrix product reaches, in GFLOP/s: {peaks}." if peaks else ""
        text = f"# {_title(document)}\n\n{versions}\n\n{_reference_line(document)}{peaks}\n\n{tables.markdown(rows)}"
        with staged(markdown) as path:
            path.write_text(text, encoding="utf-8", newline="\n")
        state.result(markdown)
