"""The rows of a benchmark as Markdown and as a plot."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from u2net_zoo.errors import MissingExtraError
from u2net_zoo.files import staged

from .race import Row

__all__ = ["COLUMNS", "aligned", "cells", "markdown", "plot", "require_plot"]

COLUMNS: dict[str, Callable[[Row], str]] = {
    "runtime": lambda r: r.name,
    "ms": lambda r: f"{1000 * r.median:.1f}" if r.median else "-",
    "quartiles": lambda r: f"{1000 * r.low:.1f} – {1000 * r.high:.1f}" if r.low and r.high else "-",
    "images/s": lambda r: f"{r.per_second:.1f}" if r.per_second else "-",
    "GFLOP/s": lambda r: f"{r.gflops:,.0f}" if r.gflops else "-",
    "of matmul": lambda r: f"{r.share:.0%}" if r.share else "-",
    "memory MB": lambda r: f"{r.memory / 1e6:,.0f}" if r.memory else "-",
    "GPU MB": lambda r: f"{r.device_memory / 1e6:,.0f}" if r.device_memory else "-",
    "load s": lambda r: f"{r.load:.1f}" if r.load else "-",
    "file MB": lambda r: f"{r.bytes / 1e6:.1f}" if r.bytes else "-",
    "max abs error": lambda r: _error(r),
    "of noise": lambda r: f"{r.ratio:,.1f}x" if r.ratio is not None else "-",
}


def _error(row: Row) -> str:
    if row.max_abs is None:
        return "-"
    if row.unit == "grey levels":
        return f"{row.max_abs:.0f} grey level{'s' if row.max_abs != 1 else ''}"
    return f"{row.max_abs:.2%} {row.unit}" if row.unit else f"{row.max_abs:.1e}"


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The heading and the rows that ran, one text per column; without the GPU's column where nothing was on one."""
    ran = [row for row in rows if not row.error]
    columns = {name: text for name, text in COLUMNS.items() if name != "GPU MB" or any(r.device_memory for r in ran)}
    return [list(columns), *([text(row) for text in columns.values()] for row in ran)]


def aligned(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """Lines for a terminal: the heading and the rows that ran, in columns.

    Columns that are beyond `width` follow further down, beside the runtimes' names again.
    """
    names, *others = zip(*cells(rows), strict=True)
    first = [name.ljust(max(map(len, names))) for name in names]
    blocks = [first]
    for column in others:
        texts = [text.rjust(max(map(len, column))) for text in column]
        if width and blocks[-1] is not first and len(blocks[-1][0]) + 2 + len(texts[0]) > width:
            blocks.append(first)
        blocks[-1] = [f"{line}  {text}" for line, text in zip(blocks[-1], texts, strict=True)]
    return [line for number, block in enumerate(blocks) for line in ([""] if number else []) + block]


def markdown(rows: Sequence[Row]) -> str:
    """A table of the rows that ran, and a list of those that did not."""
    heading, *ran = cells(rows)
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *ran]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    failed = "\n".join(f"- {row.name}: {row.error}" for row in rows if row.error)
    return f"{table}\n\nNot run:\n\n{failed}\n" if failed else f"{table}\n"


def require_plot() -> None:
    """Raises MissingExtraError where `plot` has nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("the plot", "matplotlib", "train")


def plot(rows: Sequence[Row], target: Path, title: str) -> None:
    """Bars of the medians with their quartiles, the fastest on top. Raises OutputError, MissingExtraError."""
    require_plot()
    from matplotlib.figure import Figure

    ran = sorted((row for row in rows if row.median), key=lambda row: -(row.median or 0))
    figure = Figure(figsize=(8, 0.9 + 0.36 * len(ran)), layout="constrained")
    axes = figure.subplots()
    medians = [1000 * (row.median or 0) for row in ran]
    spread = [
        [m - 1000 * (row.low or 0) for m, row in zip(medians, ran, strict=True)],
        [1000 * (row.high or 0) - m for m, row in zip(medians, ran, strict=True)],
    ]
    colours = ["#2b5fd9" if row.exact else "#c98a1b" for row in ran]
    bars = axes.barh([row.name for row in ran], medians, xerr=spread, color=colours, ecolor="#555555", height=0.66)
    axes.bar_label(bars, [f"{m:.1f} ms" for m in medians], padding=6, fontsize=8)
    axes.set(
        xlabel="milliseconds per picture (median, quartiles)", title=title, xlim=(0, 1.18 * max(medians, default=1))
    )
    axes.spines[["top", "right"]].set_visible(False)
    with staged(target) as path:
        figure.savefig(path, format=target.suffix[1:].lower(), dpi=160)
