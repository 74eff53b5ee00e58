"""The rows of a benchmark as Markdown and as a plot."""

from collections.abc import Callable, Sequence
from pathlib import Path

from u2net_zoo.errors import MissingExtraError
from u2net_zoo.files import staged

from .race import Row

__all__ = ["COLUMNS", "aligned", "cells", "markdown", "plot"]

COLUMNS: dict[str, Callable[[Row], str]] = {
    "runtime": lambda r: r.name,
    "ms": lambda r: f"{1000 * r.median:.1f}" if r.median else "-",
    "quartiles": lambda r: f"{1000 * r.low:.1f} – {1000 * r.high:.1f}" if r.low and r.high else "-",
    "images/s": lambda r: f"{r.per_second:.1f}" if r.per_second else "-",
    "GFLOP/s": lambda r: f"{r.gflops:,.0f}" if r.gflops else "-",
    "of matmul": lambda r: f"{r.share:.0%}" if r.share else "-",
    "memory MB": lambda r: f"{r.memory / 1e6:,.0f}" if r.memory else "-",
    "load s": lambda r: f"{r.load:.1f}" if r.load else "-",
    "file MB": lambda r: f"{r.bytes / 1e6:.1f}" if r.bytes else "-",
    "max abs error": lambda r: f"{r.max_abs:.1e}" if r.max_abs is not None else "-",
    "of noise": lambda r: f"{r.ratio:,.1f}x" if r.ratio is not None else "-",
}


def cells(row: Row) -> list[str]:
    """One text per column."""
    return [text(row) for text in COLUMNS.values()]


def aligned(rows: Sequence[Row]) -> list[str]:
    """Lines for a terminal: the heading and the rows that ran, in columns."""
    lines = [list(COLUMNS), *(cells(row) for row in rows if not row.error)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(COLUMNS))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]


def markdown(rows: Sequence[Row]) -> str:
    """A table of the rows that ran, and a list of those that did not."""
    lines = [list(COLUMNS), ["---"] + ["---:"] * (len(COLUMNS) - 1), *(cells(row) for row in rows if not row.error)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    failed = "\n".join(f"- {row.name}: {row.error}" for row in rows if row.error)
    return f"{table}\n\nNot run:\n\n{failed}\n" if failed else f"{table}\n"


def plot(rows: Sequence[Row], target: Path, title: str) -> None:
    """Bars of the medians with their quartiles, the fastest on top. Raises OutputError, MissingExtraError."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("the plot", "matplotlib", "train") from None
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
