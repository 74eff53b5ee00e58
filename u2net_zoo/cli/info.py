"""`u2zoo info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import human_bytes, state
from .fetch import fetch_source
from .terminal import Whole

if TYPE_CHECKING:
    from converters.verify.self_check import Agreement

    from ..checkpoint import Checkpoint

__all__ = ["info"]

INDENT = 13  # of what is said under a heading


def info(
    source: Annotated[Path, typer.Argument(help="Weights, a converted model of any format, or a catalog name.")],
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Run the file beside the Torch model of its weights.")
    ] = True,
    key: Annotated[str | None, typer.Option(help="Which network of a file that holds several, such as ema.")] = None,
    arch: Annotated[
        str | None, typer.Option(help="Where weights leave it open: dilated, plain, or each block: 7,6,5,4,4F …")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what a file holds, and whether it computes what its weights mean."""
    state.json = json
    from converters.loading import format_of, read_source
    from converters.verify.self_check import agreement

    from ..sources import locate

    fetch_source(str(source))
    with state.quiet(), state.progress(total=1) as bar:
        source = locate(source).path
        bar.update(bar.task_ids[0], description=f"{source.name}: reading")
        fmt, checkpoint = format_of(source), read_source(source, key, arch)
        bar.update(bar.task_ids[0], description=f"{source.name}: running")
        found = agreement(fmt, source, checkpoint) if run and key is None else None
        document = _document(source, checkpoint, found)
        for key, value in _rows(document, found).items():
            state.result(f"{key:<{INDENT - 2}}", value, indent=INDENT)
        state.document(document)


def _document(source: Path, checkpoint: "Checkpoint", found: "Agreement | None") -> dict[str, Any]:
    from converters.loading import format_of
    from converters.verify.quantised_files import precision_of

    from ..dilation import kinds_of

    fmt, arch = format_of(source), checkpoint.arch
    own = ("source", "sha256", "format", "quantised")
    return {
        "path": str(source),
        "format": fmt.name,
        "bytes": sum(file.stat().st_size for file in fmt.files(source)),
        "sha256": checkpoint.meta["sha256"],
        "files": [file.name for file in fmt.files(source)],
        "architecture": arch.name,
        "blocks": kinds_of(arch),
        "widths": [[block.mid_ch, block.out_ch] for block in arch.blocks],
        "parameters": arch.parameters(),
        "in_channels": arch.in_ch,
        "out_channels": arch.out_ch,
        "outputs": list(arch.outputs),
        "final": arch.final,
        "precision": precision_of(checkpoint),
        "quantised": checkpoint.meta.get("quantised"),
        "metadata": {key: value for key, value in checkpoint.meta.items() if key not in own},
        "agreement": found and found.to_json(),
    }


def _rows(document: dict[str, Any], found: "Agreement | None") -> dict[str, object]:
    widths = " ".join(f"{mid}/{out}" for mid, out in document["widths"])
    meaning = "in 0..1 (sigmoid)" if document["final"] == "sigmoid" else "logits"
    return {
        "file": Whole(f"{document['path']}  {document['format']}  {human_bytes(document['bytes'])}"),
        "sha256": document["sha256"],
        "network": f"{document['architecture']}, {document['parameters']:,} parameters",
        "blocks": f"{document['blocks']} (height; F: dilated)",
        "widths": f"{widths} (mid/out per stage)",
        "outputs": f"{', '.join(document['outputs'])}; {document['out_channels']} channel(s), {meaning}",
        "precision": f"{document['quantised'] or document['precision']} (what the weights carry)",
        **{f"meta {key}": value for key, value in document["metadata"].items()},
        "agreement": found.summary() if found else "not run (--no-run)",
    }
