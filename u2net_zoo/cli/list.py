"""`u2zoo list`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .console import human_bytes, state

if TYPE_CHECKING:
    from ..catalog import Entry

__all__ = ["EXAMPLES", "list_weights"]

EXAMPLES = {
    "Which weights are there, and under which licence?": "u2zoo list",
    "For a program": "u2zoo list --json",
}


def list_weights(json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """List known weights: purpose, size, licence, and which are here."""
    state.json = json
    from ..catalog import home, load_catalog

    entries = list(load_catalog().values())
    state.document({"home": str(home()), "weights": [_row(entry) for entry in entries]})
    rows = [(entry.name, entry.purpose, _size(entry), entry.licence, _is_cached(entry)) for entry in entries]
    state.table(("name", "for", "size", "licence", "here"), rows)


def _size(entry: "Entry") -> str:
    sizes = [source.total for source in entry.sources if source.total]
    return human_bytes(sizes[0]).replace(" ", "\N{NO-BREAK SPACE}") if sizes else "unconfirmed"


def _is_cached(entry: "Entry") -> str:
    cached = entry.cached()
    if cached is None:
        return ""
    return cached.kind if cached.kind == "bundled" else "cached"


def _row(entry: "Entry") -> dict:
    cached = entry.cached()
    return {**asdict(entry), "cached": str(entry.folder(cached) / cached.file) if cached else None}
