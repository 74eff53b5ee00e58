"""`u2zoo convert`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converters.registry import FORMATS

from ..errors import OptionError
from . import completion
from .clock import STARTED
from .console import human_bytes, state
from .fetch import fetch_source
from .options import parse_batch, parse_sizes
from .runtime_options import MODEL
from .terminal import Whole

if TYPE_CHECKING:
    from converters import Artifact, Options
    from converters.verify.self_check import Agreement

__all__ = ["EXAMPLES", "convert"]

EXAMPLES = {
    "An ONNX file, proved against its weights": "u2zoo convert u2net_nano --to onnx",
    "Several formats into a folder": "u2zoo convert u2net_nano --to onnx,tflite,coreml -o models",
    "Half precision; the file takes pictures": "u2zoo convert my.pth --to onnx --precision fp16 --io image",
    "What would be written, and how long it would take": "u2zoo convert u2netp --to all --dry-run",
}

INDENT = 13  # of what follows a format's name


def convert(
    source: Annotated[Path, typer.Argument(help=MODEL, autocompletion=completion.sources)],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help=f"Formats, comma-separated, or all (without web): {', '.join(FORMATS)}.",
            autocompletion=completion.formats,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the files.")] = Path("."),
    name: Annotated[
        str | None,
        typer.Option(help="What the files are called; by default after the weights. So is Core ML's class."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Input size, N or HxW; by default the catalog's, or 320. Core ML: also 320,512 or 256..1024."
        ),
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Batch size, or dynamic.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8, w8a8, palette8 …; see `u2zoo formats`.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration set of int8 and palettes: a folder; by default six photographs.")
    ] = None,
    outputs: Annotated[str | None, typer.Option(help="mask (d0 alone) or all (mask, side1, …).")] = None,
    io: Annotated[
        str | None,
        typer.Option(help="tensor: normalised tensor in, d0 out. image: pixels in, grey mask out (Core ML's default)."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="With --io image: embedded preprocessing, paper, rembg …", autocompletion=completion.profiles
        ),
    ] = None,
    minmax: Annotated[
        bool | None,
        typer.Option("--minmax/--no-minmax", help="With --io image: stretch the mask to 0..255, as profiles do."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Core ML: deployment target, iOS15 to iOS18.")] = None,
    legacy: Annotated[bool, typer.Option("--legacy", help="Core ML for iOS 14: the old .mlmodel.")] = False,
    opset: Annotated[int | None, typer.Option(help="ONNX: opset, 11 to 20.")] = None,
    key: Annotated[str | None, typer.Option(help="Which network of a file that holds several, such as ema.")] = None,
    arch: Annotated[
        str | None,
        typer.Option(help="Dilation, if the weights do not say it: dilated, plain, or each block: 7,6,5,4,4F …"),
    ] = None,
    via: Annotated[
        str | None,
        typer.Option(help="Exporter: native; onnx2tf (savedmodel, tflite), litert-torch (tflite), executorch."),
    ] = None,
    trust_weights: Annotated[
        bool,
        typer.Option("--trust-weights", help="Convert the weights of a model although its outputs differ from theirs."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; show files, options, expected size and time.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Convert weights to other formats and prove every file.

    Each file is run and compared with the weights. A file that computes something else is not kept.
    """
    state.json = json
    from converters.conversion import convert as run
    from converters.loading import checked_name
    from converters.memory import keep_freed_blocks, return_large_blocks
    from converters.options import Options
    from converters.planning.targets import check_options, formats_named

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
    chosen = formats_named(_legacy_formats(to) if legacy else to)
    if dry_run:
        _rehearse(source, [fmt.name for fmt in chosen], out, name, options, key, arch)
        return
    check_options(chosen, options)  # before a download, not after it
    name = None if name is None else checked_name(name)
    fetch_source(source)
    # This process is ours: what is good for its memory need not be good for a host's own work.
    with keep_freed_blocks(), state.quiet(), state.progress(total=len(chosen)) as bar:

        def started(written: str) -> None:
            bar.update(bar.task_ids[0], description=f"{written}: writing and proving")

        def finished(artifact: "Artifact") -> None:
            bar.advance(bar.task_ids[0])
            state.result(*_parts(artifact), indent=INDENT)
            for path in artifact.beside:
                state.result(Whole(f"{'':<{INDENT}}{path}"))

        def doing(text: str) -> None:
            bar.update(bar.task_ids[0], description=text)

        names = [fmt.name for fmt in chosen]
        artifacts = run(
            source, names, out, name=name, options=options, key=key, arch=arch, trust_weights=trust_weights,
            started=started, finished=finished, doing=doing,
            referenced=return_large_blocks,
        )  # fmt: skip
    seconds, reference = time.perf_counter() - STARTED, artifacts[-1].reference_seconds
    state.result(f"{'in all':<{INDENT - 2}}", f"{seconds:.1f} s; {_of_reference(reference)}", indent=INDENT)
    _say_of_the_source(source, artifacts[0].source)
    if any(artifact.report.flat for artifact in artifacts):
        state.warn("the masks of these weights hardly vary; agreement on an untrained network proves little")
    for remark in dict.fromkeys(text for artifact in artifacts for text in artifact.remarks):
        state.warn(remark)
    state.document(
        {
            "source": str(source),
            "seconds": round(seconds, 3),
            "reference_seconds": round(reference, 3),
            "artifacts": [artifact.to_json() for artifact in artifacts],
        }
    )


def _of_reference(seconds: float) -> str:
    return f"float64 reference {seconds:.1f} s, beside the writing" if seconds else "float64 reference known already"


def _rehearse(
    source: Path,
    formats: list[str],
    out: Path,
    name: str | None,
    options: "Options",
    key: str | None,
    arch: str | None,
) -> None:
    from converters.planning import dry_run

    from .show_plan import show_plan

    with state.quiet():
        plan = dry_run(source, formats, out, name=name, options=options, key=key, arch=arch)
    show_plan(plan)


def _say_of_the_source(source: Path, found: "Agreement | None") -> None:
    if found is None:
        return
    if found.ok:
        state.result(f"{'source':<{INDENT - 2}}", found.summary(), indent=INDENT)
    elif found.skipped:
        state.warn(f"{source}: the weights are taken as they were read; the model was {found.summary()}")
    else:
        state.warn(f"{source}: only the weights are taken; the model {found.summary()}")


def _legacy_formats(to: str) -> list[str]:
    """The formats that were asked for, those that have an older form in it."""
    from converters.planning.targets import formats_named
    from converters.registry import FORMATS

    older = {name: fmt.legacy for name, fmt in FORMATS.items() if fmt.legacy}
    names = [name.strip().lower() for name in to.split(",")]
    if "all" in names:
        return [fmt.name for fmt in formats_named(names) if fmt.name not in older]
    if not set(names) & set(older):
        known = ", ".join(older)
        raise OptionError(f"--legacy is an old form of {known}; --to {to} asks for no {known}")
    return [older.get(name, name) for name in names]


def _parts(artifact: "Artifact") -> tuple[object, ...]:
    plan = f"; {artifact.plan.summary()}" if artifact.plan else ""
    took = (human_bytes(artifact.bytes), f"{artifact.seconds:.1f} s", f"{artifact.report.summary()}{plan}")
    return f"{artifact.format:<{INDENT - 2}}", artifact.path, *took
