"""`u2zoo formats`."""

from typing import Annotated

import typer

from ..errors import MissingExtraError, install_hint
from .console import state

__all__ = ["formats"]


def formats(json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """List the formats, their options, and whether their packages are installed."""
    state.json = json
    from rich.console import Console
    from rich.table import Table

    rows = [_row(name) for name in _names()]
    state.document({"formats": rows})
    if json:
        return
    table = Table("format", "file", "options (the first is the default)", "ready")
    for row in rows:
        options = "\n".join(f"--{key} {' | '.join(values)}" for key, values in row["options"].items())
        ready = "yes" if row["ready"] else install_hint(row["extra"])
        table.add_row(row["name"], f"{row['title']}\n*{row['suffix']}", options, ready)
    Console().print(table)


def _names() -> list[str]:
    from converters.registry import FORMATS

    return list(FORMATS)


def _row(name: str) -> dict:
    from converters.options import describe
    from converters.registry import FORMATS

    fmt = FORMATS[name]
    try:
        fmt.require()
        ready = True
    except MissingExtraError:
        ready = False
    options = {key: [describe(v, key) for v in values] for key, values in fmt.choices.items() if len(values) > 1}
    return {
        "name": name,
        "title": fmt.title,
        "suffix": fmt.suffix,
        "extra": fmt.extra,
        "ready": ready,
        "options": options,
        "batch": "any" if 0 in fmt.choices.get("batch", (0,)) else "fixed",
        "fp16_bound": {"iou": fmt.bounds["fp16"].iou, "mae": fmt.bounds["fp16"].mae} if "fp16" in fmt.bounds else None,
    }
