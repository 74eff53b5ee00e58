"""`u2zoo convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converters.registry import FORMATS

from ..errors import OptionError
from .console import human_bytes, state
from .fetch import fetch_source
from .options import parse_batch, parse_sizes

if TYPE_CHECKING:
    from converters import Artifact

__all__ = ["convert"]


def convert(
    source: Annotated[
        Path, typer.Argument(help="Weights, a converted model of any format, or a name that `u2zoo list` shows.")
    ],
    to: Annotated[str, typer.Option("--to", help=f"Formats, or all (but web): {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the artifacts.")] = Path("."),
    size: Annotated[
        str | None,
        typer.Option(
            help="Input size, N or HxW; if not given 320, or the catalog's. Core ML: also 320,512 or 256..1024."
        ),
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Batch size, or dynamic.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16, int8, palette8 …: `u2zoo formats`.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photographs to measure int8 and palettes on; by default six.")
    ] = None,
    outputs: Annotated[str | None, typer.Option(help="mask (d0 alone) or all (mask, side1, …).")] = None,
    io: Annotated[
        str | None,
        typer.Option(help="image: pixels 0..255 in, grey mask out (Core ML's default). tensor: normalised, d0 out."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="With image: whose preparation is in the graph; paper, rembg …")
    ] = None,
    minmax: Annotated[
        bool | None,
        typer.Option("--minmax/--no-minmax", help="With image: stretch the mask to 0..255, as profiles do."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Core ML: lowest system, iOS15 to iOS18.")] = None,
    legacy: Annotated[bool, typer.Option("--legacy", help="Core ML for iOS 14: the old .mlmodel.")] = False,
    opset: Annotated[int | None, typer.Option(help="Opset of ONNX.")] = None,
    via: Annotated[str | None, typer.Option(help="native, or onnx2tf for savedmodel and tflite.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Convert weights to other formats; an artifact is kept only when it computes what the weights compute."""
    state.json = json
    from converters.base import Options
    from converters.conversion import convert as run
    from converters.conversion import formats_named

    options = Options(
        **(parse_sizes(size) if size is not None else {}),
        batch=parse_batch(batch) if batch is not None else None,
        precision=precision,
        outputs=outputs,
        io=io,
        profile=profile,
        stretch=minmax,
        target=target,
        opset=opset,
        via=via,
        calibration=calibration,
    )
    chosen = formats_named(_legacy(to) if legacy else to)
    for fmt in chosen:
        fmt.settle(options)  # before a download, not after it
    fetch_source(source)
    with state.quiet(), state.progress(total=len(chosen)) as bar:

        def started(name: str) -> None:
            bar.update(bar.task_ids[0], description=f"{name}: writing and proving")

        def finished(artifact: "Artifact") -> None:
            bar.advance(bar.task_ids[0])
            state.result(_line(artifact))
            for path in artifact.beside:
                state.result(f"{'':<12} {path}")

        def doing(text: str) -> None:
            bar.update(bar.task_ids[0], description=text)

        names = [fmt.name for fmt in chosen]
        artifacts = run(source, names, out, options=options, started=started, finished=finished, doing=doing)
    if any(artifact.report.flat for artifact in artifacts):
        state.warn("the masks of these weights hardly vary; agreement on an untrained network proves little")
    if any(artifact.options.target == "iOS15" and artifact.options.io == "image" for artifact in artifacts):
        state.warn("iOS 15 has no grey pictures as outputs: the mask comes out as a multi-array of grey levels")
    state.document({"source": str(source), "artifacts": [artifact.to_json() for artifact in artifacts]})


def _legacy(to: str) -> list[str]:
    """The formats that were asked for, Core ML's in its old form."""
    names = [name.strip().lower() for name in to.split(",")]
    if "all" in names:
        from converters.conversion import formats_named

        return [fmt.name for fmt in formats_named(names) if fmt.name != "coreml"]
    if "coreml" not in names:
        raise OptionError(f"--legacy is an old form of coreml; --to {to} asks for no coreml")
    return ["mlmodel" if name == "coreml" else name for name in names]


def _line(artifact: "Artifact") -> str:
    size, seconds = human_bytes(artifact.bytes), f"{artifact.seconds:.1f} s"
    plan = f"; {artifact.plan.summary()}" if artifact.plan else ""
    return f"{artifact.format:<12} {artifact.path}  {size}  {seconds}  {artifact.report.summary()}{plan}"
