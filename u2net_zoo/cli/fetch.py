"""`u2zoo fetch`, and the fetching that other commands do when they are given a name of the catalog."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .console import human_bytes, state

if TYPE_CHECKING:
    from ..catalog import Entry
    from ..downloads import Fetched

__all__ = ["EXAMPLES", "fetch", "fetch_source"]

EXAMPLES = {
    "Download the authors' small network": "u2zoo fetch u2netp",
    "Where are the weights that come with this project?": "u2zoo fetch u2net_nano",
}


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Catalog names; `u2zoo list` shows them.", metavar="NAME…", autocompletion=completion.catalog_names
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Download weights from the catalog, and check them.

    They are stored in the cache; U2ZOO_HOME names another folder.
    """
    state.json = json
    from ..catalog import get_entry

    entries = [get_entry(name) for name in dict.fromkeys(names)]
    files = []
    for entry in entries:
        result = _with_progress(entry)
        state.result(*_parts(result))
        files.append({**asdict(result), "path": str(result.path)})
    state.document({"files": files})


def fetch_source(source: str | Path) -> None:
    """Fetches `source` under a progress bar when it is a name in the catalog; the Python functions then find it."""
    from ..sources import in_catalog

    if entry := in_catalog(source):
        _with_progress(entry)


def _with_progress(entry: "Entry") -> "Fetched":
    from ..downloads import fetch as run

    with state.progress(in_bytes=True) as bar:

        def moved(done: int, total: int | None) -> None:
            bar.update(bar.task_ids[0], description=entry.name, completed=done, total=total)

        return run(entry, progress=moved)


def _parts(result: "Fetched") -> tuple[object, ...]:
    proof = "as published" if result.verified else "seen; none is published, the file reads as the right network"
    here = "comes with the project" if result.source == "bundled" else "cached"
    where = here if result.cached else f"from {result.source}"
    return result.name, result.path, human_bytes(result.bytes), where, f"sha256 {result.sha256} ({proof})"
