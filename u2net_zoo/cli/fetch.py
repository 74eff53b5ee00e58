"""`u2zoo fetch`, and the fetching that other commands do when they are given a name of the catalog or of the hub."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .console import human_bytes, state

if TYPE_CHECKING:
    from ..downloads import Fetched
    from ..transport import Progress

__all__ = ["EXAMPLES", "fetch", "fetch_source"]

EXAMPLES = {
    "Download the authors' small network": "u2zoo fetch u2netp",
    "Where are the weights that come with this project?": "u2zoo fetch u2net_nano",
}


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Names that `u2zoo list` shows, or hf:OWNER/NAME, hf:OWNER/NAME/FILE, also with @REVISION.",
            metavar="NAME…",
            autocompletion=completion.catalog_names,
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Download weights from the catalog or the Hugging Face Hub, and check them.

    They are stored in the cache; U2ZOO_HOME names another folder.

    Other commands keep to the commit that a branch of the hub had when it was first fetched. This command updates it
    to the newest one.
    """
    state.json = json
    jobs = [(name, _job(name, refresh=True)) for name in dict.fromkeys(names)]
    files = []
    for name, run in jobs:
        result = _with_progress(name, run)
        state.result(*_parts(result))
        files.append({**asdict(result), "path": str(result.path)})
    state.document({"files": files})


def fetch_source(source: str | Path) -> None:
    """Fetches `source` under a progress bar when it is a name; the Python functions then find it."""
    from ..hub.hub_name import hub_name
    from ..sources import in_catalog

    if in_catalog(source) or (not Path(source).exists() and hub_name(source)):
        _with_progress(str(source), _job(str(source)))


def _job(name: str, refresh: bool = False) -> "Callable[[Progress], Fetched]":
    """What fetches `name`. Raises UnknownNameError: the catalog does not know it."""
    from ..catalog import get_entry
    from ..hub.hub_name import hub_name

    if hub := hub_name(name):
        from ..hub.hub_files import fetch_from_hub

        return lambda progress: fetch_from_hub(hub, refresh=refresh, progress=progress).fetched()
    from ..downloads import fetch as run

    entry = get_entry(name)
    return lambda progress: run(entry, progress=progress)


def _with_progress(name: str, run: "Callable[[Progress], Fetched]") -> "Fetched":
    with state.quiet(), state.progress(in_bytes=True) as bar:

        def moved(done: int, total: int | None) -> None:
            bar.update(bar.task_ids[0], description=name, completed=done, total=total)

        return run(moved)


def _parts(result: "Fetched") -> tuple[object, ...]:
    proof = "as published" if result.verified else "seen; none is published, the file reads as the right network"
    here = "comes with the project" if result.source == "bundled" else "cached"
    where = here if result.cached else f"from {result.source}"
    return result.name, result.path, human_bytes(result.bytes), where, f"sha256 {result.sha256} ({proof})"
