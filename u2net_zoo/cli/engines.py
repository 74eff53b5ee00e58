"""`u2zoo engines`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from .console import human_bytes, state

__all__ = ["EXAMPLES", "engines"]

EXAMPLES = {
    "Which runtime was the fastest on this machine?": "u2zoo engines",
    "Measure anew from now on": "u2zoo engines --forget",
}


def engines(
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove what was measured, and the files that were made to be run.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show how fast each runtime was on this machine.

    Weights run in the fastest one. It is measured when a network first runs at a size and on a device.
    """
    state.json = json
    from converters.engines import VARIABLE, kept

    if forget:
        freed = kept.forget()
        state.result("engines", "removed", human_bytes(freed))
        state.document({"home": str(kept.folder_of_all()), "removed": freed})
        return
    records = kept.measurements()
    state.document({"home": str(kept.folder_of_all()), "bytes": kept.size(), "measured": records})
    if not records:
        state.result("nothing was measured yet: the first mask made with weights does it")
        return
    for place in dict.fromkeys(_place(record) for record in records):
        rows = [_cells(record) for record in records if _place(record) == place]
        state.table(("network", "size", "device", "fastest", "others", "measured"), rows, title=place)
    state.result(f"{VARIABLE}=NAME takes one without a trial; --forget measures anew")


def _place(record: Mapping[str, Any]) -> str:
    """Where it was measured: `AMD EPYC …, 2 cores; onnxruntime 1.32.0, torch 2.13.0`."""
    threads = f", OMP_NUM_THREADS={record['threads']}" if record.get("threads") else ""
    versions = ", ".join(f"{name} {version}" for name, version in dict(record.get("runtimes") or {}).items())
    return f"{record.get('processor')}, {record.get('cores')} cores{threads}; {versions}"


def _cells(record: Mapping[str, Any]) -> tuple[str, ...]:
    good = sorted((row for row in record["rows"] if row["seconds"] and not row["error"]), key=lambda r: r["seconds"])
    first, *others = [f"{row['runtime']} {1000 * row['seconds']:.0f} ms" for row in good] or ["none"]
    out = [f"{row['runtime']}: {row['error']}" for row in record["rows"] if row["error"]]
    height, width = record["size"]
    about = str(record.get("architecture")), f"{height}x{width}", str(record.get("device"))
    return *about, first, "; ".join([*others, *out]), str(record.get("date"))
