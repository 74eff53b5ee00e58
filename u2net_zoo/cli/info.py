"""`u2zoo info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import human_bytes, state
from .fetch import fetch_source

if TYPE_CHECKING:
    from converters.inspection import Agreement

    from ..checkpoint import Checkpoint

__all__ = ["info"]


def info(
    source: Annotated[Path, typer.Argument(help="Weights, a converted model of any format, or a catalog name.")],
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Run the file beside the Torch model of its weights.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what a file holds, and whether it computes what its weights mean."""
    state.json = json
    from converters.inspection import agreement
    from converters.sources import format_of, read_source

    from ..sources import locate

    fetch_source(str(source))
    with state.quiet(), state.progress(total=1) as bar:
        source = locate(source).path
        bar.update(bar.task_ids[0], description=f"{source.name}: reading")
        fmt, checkpoint = format_of(source), read_source(source)
        bar.update(bar.task_ids[0], description=f"{source.name}: running")
        found = agreement(fmt, source, checkpoint) if run else None
        document = _document(source, checkpoint, found)
        for line in _lines(document, found):
            state.result(line)
        state.document(document)


def _document(source: Path, checkpoint: "Checkpoint", found: "Agreement | None") -> dict[str, Any]:
    from converters.sources import format_of

    fmt, arch = format_of(source), checkpoint.arch
    own = ("source", "sha256", "format")
    return {
        "path": str(source),
        "format": fmt.name,
        "bytes": sum(file.stat().st_size for file in fmt.files(source)),
        "sha256": checkpoint.meta["sha256"],
        "files": [file.name for file in fmt.files(source)],
        "architecture": arch.name,
        "widths": [[block.mid_ch, block.out_ch] for block in arch.blocks],
        "parameters": arch.parameters(),
        "in_channels": arch.in_ch,
        "out_channels": arch.out_ch,
        "outputs": list(arch.outputs),
        "final": arch.final,
        "precision": precision(checkpoint),
        "metadata": {key: value for key, value in checkpoint.meta.items() if key not in own},
        "agreement": found and found.to_json(),
    }


def precision(checkpoint: "Checkpoint") -> str:
    """`fp16` when every kernel lies on float16's grid, whatever type it is stored in; `fp32` otherwise."""
    import numpy as np

    kernels = [value for key, value in checkpoint.state.items() if value.ndim == 4]
    with np.errstate(over="ignore"):
        return "fp16" if all((k.astype(np.float16) == k).all() for k in kernels) else "fp32"


def _lines(document: dict[str, Any], found: "Agreement | None") -> list[str]:
    widths = " ".join(f"{mid}/{out}" for mid, out in document["widths"])
    meaning = "in 0..1 (sigmoid)" if document["final"] == "sigmoid" else "logits"
    rows = {
        "file": f"{document['path']}  {document['format']}  {human_bytes(document['bytes'])}",
        "sha256": document["sha256"],
        "network": f"{document['architecture']}, {document['parameters']:,} parameters",
        "widths": f"{widths} (mid/out per stage)",
        "outputs": f"{', '.join(document['outputs'])}; {document['out_channels']} channel(s), {meaning}",
        "precision": f"{document['precision']} (what the weights carry)",
        **{f"meta {key}": value for key, value in document["metadata"].items()},
        "agreement": found.summary() if found else "not run (--no-run)",
    }
    return [f"{key:<12} {value}" for key, value in rows.items()]
