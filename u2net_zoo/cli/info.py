"""`u2zoo info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MissingExtraError, U2ZooError
from . import completion
from .console import human_bytes, state
from .fetch import fetch_source
from .runtime_options import MODEL
from .terminal import Whole

if TYPE_CHECKING:
    from converters import Format, Predictor

    from ..checkpoint import Checkpoint

__all__ = ["EXAMPLES", "info"]

EXAMPLES = {
    "What is in this file?": "u2zoo info my.pth",
    "Of a converted model, without running it": "u2zoo info u2net_nano.onnx --no-run",
}

INDENT = 13  # of what is said under a heading


def info(
    source: Annotated[Path, typer.Argument(help=MODEL, autocompletion=completion.sources)],
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Run the file, and the Torch model of its weights, and compare.")
    ] = True,
    key: Annotated[str | None, typer.Option(help="Which network of a file that holds several, such as ema.")] = None,
    arch: Annotated[
        str | None,
        typer.Option(help="Dilation, if the weights do not say it: dilated, plain, or each block: 7,6,5,4,4F …"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what a model file holds, and run it beside its weights."""
    state.json = json
    from converters.loading import format_of

    from ..sources import locate

    fetch_source(str(source))
    with state.quiet(), state.progress(total=1) as bar:
        source = locate(source).path
        bar.update(bar.task_ids[0], description=f"{source.name}: reading")
        fmt = format_of(source)
        predictor = _opened(fmt, source) if run and key is None else None
        checkpoint, unread = _read(source, key, arch, predictor)
        bar.update(bar.task_ids[0], description=f"{source.name}: running")
        document = _file(fmt, source, predictor)
        if checkpoint:
            document |= _document(fmt, source, checkpoint, predictor, run and key is None)
        for name, value in _rows(document, unread).items():
            state.result(f"{name:<{INDENT - 2}}", value, indent=INDENT)
        state.document(document)


def _opened(fmt: "Format", source: Path) -> "Predictor | None":
    """The file in its own runtime; None for weights alone, and where it cannot be run: `agreement` says why."""
    if not (fmt.has_graph and fmt.can_run()):
        return None
    try:
        return fmt.run(source, exact=True)
    except (U2ZooError, OSError, ImportError):
        return None


def _read(
    source: Path, key: str | None, arch: str | None, predictor: "Predictor | None"
) -> "tuple[Checkpoint | None, str]":
    """The weights; None, and why, where a package is missing that reads them and the file runs without it."""
    from converters.loading import read_source

    try:
        return read_source(source, key, arch), ""
    except MissingExtraError as error:
        if predictor is None:
            raise
        return None, str(error)


def _file(fmt: "Format", source: Path, predictor: "Predictor | None") -> dict[str, Any]:
    from converters.loading import sha256_of_all

    files = fmt.files(source)
    return {
        "path": str(source),
        "format": fmt.name,
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": sha256_of_all(files),
        "files": [file.name for file in files],
        "input": predictor and _input(predictor),
        "answers": list(predictor.outputs) if predictor else None,
    }


def _input(predictor: "Predictor") -> dict[str, Any]:
    """What a file takes: its size, or the one that it is described with where it takes several."""
    size, embedded = predictor.size or predictor.default, predictor.embedded
    profile = embedded.profile.name if embedded else None
    takes = "pixels" if embedded else predictor.takes or predictor.stated
    return {"size": size and list(size), "batch": predictor.batch, "takes": takes, "profile": profile}


def _document(
    fmt: "Format", source: Path, checkpoint: "Checkpoint", predictor: "Predictor | None", run: bool
) -> dict[str, Any]:
    from converters.verify.quantised_files import precision_of
    from converters.verify.self_check import agreement

    from ..dilation import kinds_of

    arch = checkpoint.arch
    own = ("source", "sha256", "format", "quantised", "arithmetic")
    found = agreement(fmt, source, checkpoint, predictor) if run else None
    return {
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
        "arithmetic": checkpoint.meta.get("arithmetic"),
        "metadata": {key: value for key, value in checkpoint.meta.items() if key not in own},
        "agreement": found and found.to_json(),
    }


def _rows(document: dict[str, Any], unread: str) -> dict[str, object]:
    rows: dict[str, object] = {
        "file": Whole(f"{document['path']}  {document['format']}  {human_bytes(document['bytes'])}"),
        "sha256": document["sha256"],
    }
    if document["input"]:
        rows["input"] = _input_line(document["input"])
        rows["answers"] = ", ".join(document["answers"]) or "unnamed"
    return rows | ({"network": f"not read: {unread}"} if unread else _network(document))


def _input_line(given: dict[str, Any]) -> str:
    size = "{}x{}".format(*given["size"]) if given["size"] else "any size"
    batch = f"batch {given['batch']}" if given["batch"] else "any batch"
    takes = f"{given['takes'] or 'of what the file does not say'}"
    return f"{size}, {batch}, {takes}" + (f" (profile {given['profile']} is in its graph)" if given["profile"] else "")


def _network(document: dict[str, Any]) -> dict[str, object]:
    widths = " ".join(f"{mid}/{out}" for mid, out in document["widths"])
    meaning = "in 0..1 (sigmoid)" if document["final"] == "sigmoid" else "logits"
    found = document["agreement"]
    return {
        "network": f"{document['architecture']}, {document['parameters']:,} parameters",
        "blocks": f"{document['blocks']} (height; F: dilated)",
        "widths": f"{widths} (mid/out per stage)",
        "outputs": f"{', '.join(document['outputs'])}; {document['out_channels']} channel(s), {meaning}",
        "precision": f"{document['quantised'] or document['precision']} (what the weights carry)",
        **({"arithmetic": document["arithmetic"]} if document["arithmetic"] else {}),
        **{f"meta {key}": value for key, value in document["metadata"].items()},
        "agreement": found["summary"] if found else "not run (--no-run)",
    }
