"""`u2zoo formats`."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MissingExtraError, install_hint
from .console import state
from .terminal import Whole

if TYPE_CHECKING:
    from converters.format import Format

__all__ = ["EXAMPLES", "formats"]

EXAMPLES = {
    "What can be written here, and what has to be installed first": "u2zoo formats",
    "For a program": "u2zoo formats --json",
}


def formats(json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """List the formats, their options, and what is installed."""
    state.json = json
    from converters.registry import FORMATS

    rows = [_row(fmt) for fmt in FORMATS.values()]
    state.document({"formats": rows})
    headings = ("format", "writes", "runs", "file, and options: the default first")
    state.table(headings, [(row["name"], _yes(row["writes"]), _yes(row["runs"]), _about(row)) for row in rows])
    for install, what in _installs(rows).items():
        state.result(Whole(install), f"brings {what}")


def _row(fmt: "Format") -> dict[str, Any]:
    lacking = {"write": _lacking(fmt.require), "run": None if _by_another(fmt) else _lacking(fmt.require_running)}
    return {
        "name": fmt.name,
        "title": fmt.title,
        "suffix": fmt.suffix,
        "extra": fmt.extra,
        "ready": lacking["write"] is None,
        "writes": lacking["write"] is None,
        "runs": lacking["run"] is None,
        "missing": [
            {"to": use, "package": error.package, "extra": error.extra, "install": install_hint(error.extra)}
            for use, error in lacking.items()
            if error
        ],
        "options": _options(fmt),
        "batch": "any" if 0 in fmt.choices.get("batch", (0,)) else "fixed",
        "fp16_bound": {"iou": fmt.bounds["fp16"].iou, "mae": fmt.bounds["fp16"].mae} if "fp16" in fmt.bounds else None,
    }


def _by_another(fmt: "Format") -> bool:
    """Whether it is of weights that can be read, and a runtime that takes weights is there."""
    from converters.registry import FORMATS

    readable = bool(fmt.reading) and all(find_spec(package) for package in fmt.reading)
    return readable and any(each.direct and each.can_run() for each in FORMATS.values())


def _lacking(require: Callable[[], None]) -> MissingExtraError | None:
    try:
        require()
    except MissingExtraError as error:
        return error
    return None


def _options(fmt: "Format") -> dict[str, list[str]]:
    from converters.options import describe

    return {key: [describe(v, key) for v in values] for key, values in fmt.choices.items() if len(values) > 1}


def _about(row: dict[str, Any]) -> str:
    options = (f"--{key} {', '.join(values)}" for key, values in row["options"].items())
    return "\n".join([f"{row['title']}, *{row['suffix']}", *options])


def _installs(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Command -> what it brings: `torch, onnx for onnx, web`."""
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for row in rows:
        for each in row["missing"]:
            packages, names = found.setdefault(each["install"], ({}, {}))
            packages[each["package"]] = names[row["name"]] = None
    return {install: f"{', '.join(packages)} for {', '.join(names)}" for install, (packages, names) in found.items()}


def _yes(ready: bool) -> str:
    return "yes" if ready else "no"
