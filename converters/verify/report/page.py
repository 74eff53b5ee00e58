"""Verification results and a gallery -> one HTML file. The page, its style and its script lie beside this file."""

import functools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from platform import machine, system
from string import Template

from u2net_zoo import __version__
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.files import staged

from ...parity_report import OutputDifference, OutputError64, TensorReport
from ..verifier import VerificationResult
from .gallery import AMPLIFIED, Gallery, Shot
from .histogram import svg

__all__ = ["Gallery", "write_report"]


def write_report(
    target: Path,
    results: Sequence[VerificationResult],
    gallery: Gallery,
    names: Sequence[str],
    checkpoint: Checkpoint,
    profile: str,
) -> None:
    """Writes the page. `names` are the photographs', in the gallery's order. Raises OutputError."""
    page = _filled(
        "page.html",
        version=__version__,
        title=f"Parity report · {escape(checkpoint.meta.get('source', checkpoint.arch.name))}",
        heading=escape(checkpoint.meta.get("source", checkpoint.arch.name)),
        result=escape(_headline(results)),
        result_class="good" if all(v.ok for v in results) else "bad",
        facts="\n".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in _facts(checkpoint, profile, gallery)),
        summary="\n".join(_row(n, v) for n, v in enumerate(results)),
        artifacts="\n".join(_card(n, v) for n, v in enumerate(results)),
        photographs="\n".join(_photograph(n, name, results, gallery) for n, name in enumerate(names)),
        amplified=AMPLIFIED,
        made=f"Made by u2net-zoo {__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. The page loads nothing.",
        style=_asset("style.css"),
        script=_asset("script.js"),
    )
    with staged(target) as path:
        path.write_text(page, encoding="utf-8", errors="replace", newline="\n")  # names of files need not be text


def _filled(template: str, **values: object) -> str:
    return Template(_asset(template)).substitute(values)


@functools.cache
def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _headline(results: Sequence[VerificationResult]) -> str:
    good = sum(v.ok for v in results)
    if good == len(results):
        return ("The artifact agrees" if good == 1 else f"All {good} artifacts agree") + " with the checkpoint"
    wrong = len(results) - good
    return f"{wrong} of {len(results)} artifacts {'differs' if wrong == 1 else 'differ'}"


def _facts(checkpoint: Checkpoint, profile: str, gallery: Gallery) -> Iterator[tuple[str, str]]:
    yield "network", f"{escape(checkpoint.arch.name)}, {checkpoint.arch.parameters():,} parameters"
    if "sha256" in checkpoint.meta:
        yield "sha256 of the checkpoint", f"<code>{escape(checkpoint.meta['sha256'][:16])}…</code>"
    shown = f"; {len(gallery.photographs)} of them below" if len(gallery.photographs) < gallery.total else ""
    prepared = f"{gallery.total:,}, prepared as <code>{escape(profile)}</code>{shown}"
    yield "photographs", prepared if gallery.photographs else "none: no profile fits this network"
    yield "machine", escape(f"{system()} {machine()}, Python {sys.version.split()[0]}")


def _pill(result: VerificationResult) -> str:
    if not result.ok:
        return '<span class="pill bad">differs</span>'
    if result.precision != "fp32":
        return f'<span class="pill reduced">agrees as {escape(result.precision)}</span>'
    return '<span class="pill good">agrees</span>'


def _breakable(name: str) -> str:
    """A file name for HTML that breaks behind its punctuation where the column is narrow."""
    return re.sub(r"([-_.])", r"\1<wbr>", escape(name))


def _row(number: int, result: VerificationResult) -> str:
    errors, share = result.report.errors, result.report.share
    over = ' over" title="beyond the bound' if share > 1 else ""
    meter = f'<span class="meter{over}"><i style="width:{min(share, 1):.0%}"></i></span>{_times(share)}'
    masks = (f"{result.mean('iou'):.4f}", f"{result.mean('mae'):.3f}", _percent(result.mean("off")))
    numbers = (
        f"{max(o.mean_abs for o in errors):.1e}",
        *(masks if result.pictures else ("–", "–", "–")),
        f"{1000 * result.seconds:.0f}",
        _megabytes(result.usage.memory),
        _megabytes(result.bytes),
    )
    cells = "".join(f'<td class="n">{value}</td>' for value in numbers)
    largest = f"{_worst(result).max_abs:.1e}"
    name = f'<th scope="row"><a href="#artifact{number}">{_breakable(result.path.name)}</a></th>'
    return f'<tr>{name}<td>{_pill(result)}</td><td class="n">{largest}</td><td>{meter}</td>{cells}</tr>'


def _times(share: float) -> str:
    return f"{share:.0%}" if share < 10 else f"{share:,.0f}×"


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{share:.2%}" if share >= 5e-5 else "&lt; 0.01%"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e8 else f"{count / 1e6:,.0f} MB"


def _card(number: int, result: VerificationResult) -> str:
    outputs = result.report.errors
    return _filled(
        "card.html",
        wide="" if result.ok else " wide",
        number=number,
        name=escape(result.path.name),
        pill=_pill(result),
        format=escape(result.format),
        size="×".join(str(side) for side in result.size),
        takes=escape(result.takes),
        load=f"{result.usage.load:.1f}",
        why=_why(result),
        histogram=svg(result),
        count="1 output" if len(outputs) == 1 else f"{len(outputs)} outputs",
        rows="\n".join(_output(output) for output in outputs),
    )


def _worst(result: VerificationResult) -> OutputDifference:
    report = result.report
    return report.worst if isinstance(report, TensorReport) else report.errors[0]


def _output(output: OutputDifference) -> str:
    """A row of the table; grey levels have no noise of float32's beside them."""
    floor = ("–", "–")
    if isinstance(output, OutputError64):
        floor = (f"{output.noise:.1e}", f"{output.ratio:,.1f}×")
    cells = "".join(
        f'<td class="n">{text}</td>' for text in (f"{output.max_abs:.1e}", f"{output.mean_abs:.1e}", *floor)
    )
    return f'<tr><th scope="row">{escape(output.name)}</th>{cells}</tr>'


def _why(result: VerificationResult) -> str:
    if result.diagnosis is None:
        return ""
    first, *rest = (escape(line) for line in (result.diagnosis.headline(), *result.diagnosis.lines()))
    return f'<div class="why"><p><b>{first}</b></p>' + "".join(f"<p>{line}</p>" for line in rest) + "</div>"


def _photograph(number: int, name: str, results: Sequence[VerificationResult], gallery: Gallery) -> str:
    """The panels show the artifact that is furthest off; a tile per artifact changes that."""
    kept = [v for v in results if number in gallery.shots.get(v.path, {})]
    if not kept:
        return ""
    chosen = max(kept, key=lambda v: v.pictures[number].mae)
    frame = _frame(*gallery.sizes[number])
    return _filled(
        "photograph.html",
        **frame,
        **asdict(gallery.shots[chosen.path][number]),
        title=escape(name),
        name=escape(chosen.path.name),
        photograph=gallery.photographs[number],
        worst=f"{chosen.pictures[number].mae:.3f}",
        count="1 artifact" if len(kept) == 1 else f"{len(kept)} artifacts",
        amplified=AMPLIFIED,
        tiles="\n".join(_tile(v, number, gallery.shots[v.path][number], v is chosen, frame) for v in kept),
    )


def _tile(result: VerificationResult, number: int, shot: Shot, chosen: bool, frame: Mapping[str, str]) -> str:
    error = result.pictures[number]
    return _filled(
        "tile.html",
        **frame,
        **asdict(shot),
        name=escape(result.path.name),
        label=_breakable(result.path.name),
        pressed=str(chosen).lower(),
        iou=f"{error.iou:.4f}",
        mae=f"{error.mae:.3f}",
    )


def _frame(width: int, height: int) -> dict[str, str]:
    """Attributes that keep a picture's place before it is decoded."""
    return {
        "size": f'width="{width}" height="{height}" loading="lazy" decoding="async"',
        "ratio": f'style="aspect-ratio:{width}/{height}"',
    }
