"""`u2zoo train`."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MissingExtraError, OptionError
from ..train.recipe import AUGMENTATIONS, BALANCED, PRECISIONS, SCHEDULES, TRAINED, Recipe
from . import completion
from .console import state
from .fetch import fetch_source
from .terminal import Whole
from .training_bar import TrainingBar

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..train.result import Outcome
    from ..train.run import Request

__all__ = ["EXAMPLES", "train"]

EXAMPLES = {
    "Before a long run: is the data what it should be, and can it be learned?": (
        "u2zoo train --images photos --masks masks --arch u2net_nano --check"
    ),
    "Fine-tune on photographs and masks of your own": (
        "u2zoo train --images photos --masks masks -o run --finetune u2netp"
    ),
    "Classes from maps of them": ("u2zoo train --images photos --masks maps --classes ground,road,sky -o run"),
    "Go on after an interruption": "u2zoo train --images photos --masks masks -o run --resume run",
}

RECIPE = {field.name for field in fields(Recipe)}
LATER = {"epochs", "steps"}  # what may still be changed when a run is resumed
DEFAULT = Recipe()


def train(
    context: typer.Context,
    images: Annotated[Path, typer.Option(help="Folder of photographs.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for weights, snapshots and logs.")] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of grey masks, or of index or palette maps of classes, of the same names."),
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Each picture of --images has its mask or drawing in its right half.")
    ] = False,
    val_images: Annotated[Path | None, typer.Option(help="Photographs to validate on.")] = None,
    val_masks: Annotated[Path | None, typer.Option(help="Their masks.")] = None,
    val_part: Annotated[float, typer.Option(help="Or: the share of the pairs that is held out for validation.")] = 0.0,
    arch: Annotated[str | None, typer.Option(help="Network: u2net (default), u2netp, u2net_nano …")] = None,
    finetune: Annotated[
        Path | None,
        typer.Option(
            help="Start from weights, a converted model, a catalog name or hf:OWNER/NAME; it decides the network.",
            autocompletion=completion.sources,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Distil: the outputs of these weights, converted model or catalog name are the targets.",
            autocompletion=completion.sources,
        ),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on from a snapshot, or from a run's folder.")] = None,
    engine: Annotated[str, typer.Option(help="Framework: torch or keras.")] = "torch",
    epochs: Annotated[int, typer.Option(help="Passes over the photographs.")] = DEFAULT.epochs,
    steps: Annotated[int, typer.Option(help="Stop after this many steps; 0: after --epochs.")] = DEFAULT.steps,
    batch: Annotated[int, typer.Option(help="Batch size over all processes.")] = DEFAULT.batch,
    rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = DEFAULT.rate,
    size: Annotated[int, typer.Option(help="Side of the square that photographs are resized to.")] = DEFAULT.size,
    crop: Annotated[int, typer.Option(help="Side of the random crop taken from it.")] = DEFAULT.crop,
    flip: Annotated[
        str, typer.Option(help="Random flips: vertical (the authors'), horizontal or none.")
    ] = DEFAULT.flip,
    augment: Annotated[str, typer.Option(help=f"Augmentation: {', '.join(AUGMENTATIONS)}.")] = DEFAULT.augment,
    precision: Annotated[str, typer.Option(help=f"Precision: {', '.join(PRECISIONS)}.")] = DEFAULT.precision,
    schedule: Annotated[str, typer.Option(help=f"Learning rate schedule: {', '.join(SCHEDULES)}.")] = DEFAULT.schedule,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of the learning rate.")] = DEFAULT.warmup,
    clip: Annotated[float, typer.Option(help="Clip the gradient's norm to this; 0: no clipping.")] = DEFAULT.clip,
    ema: Annotated[
        float, typer.Option(help="Decay of the exponential moving average of the weights; 0: none.")
    ] = DEFAULT.ema,
    patience: Annotated[
        int, typer.Option(help="Early stopping after this many validations without a gain; 0: never.")
    ] = (DEFAULT.patience),
    profile: Annotated[
        str,
        typer.Option(help=f"Preparation: {', '.join(TRAINED)}. grey: 1 channel, rgba: 4; portrait learns drawings."),
    ] = DEFAULT.profile,
    classes: Annotated[
        str, typer.Option(help="Learn classes: their names, background first: background,road,sky.")
    ] = DEFAULT.classes,
    colours: Annotated[
        str, typer.Option(help="Their colours, #rrggbb or words; PASCAL VOC's by default.")
    ] = DEFAULT.colours,
    class_weights: Annotated[
        str, typer.Option(help=f"What their pixels count in the loss: {BALANCED}, or a number for each.")
    ] = DEFAULT.class_weights,
    ignore: Annotated[
        int, typer.Option(help="A number in the maps whose pixels are not learned, such as 255; -1: none.")
    ] = DEFAULT.ignore,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.")] = DEFAULT.seed,
    accelerator: Annotated[str, typer.Option(help="Lightning Fabric's: auto, cpu, cuda, mps …")] = "auto",
    devices: Annotated[int, typer.Option(help="Processes per machine.")] = 1,
    nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that load photographs.")] = 2,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between snapshots.")] = 500,
    check: Annotated[
        bool, typer.Option("--check", help="Look at the data and fit two pictures of it; write nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train, fine-tune or distil a network.

    The defaults are the recipe of U²-Net's authors.
    """
    state.json = json
    given = context.params
    with state.quiet():
        recipe = _recipe(context, resume)
        if out is None and not check:
            raise OptionError("no -o: name a folder for the weights, or look at the data first with --check")
        request = _request(given)
        if request.start and not _is_typed(context, "profile"):
            from ..train.start import following

            recipe = following(recipe, request.start)
        if check:
            from ..train.run import check_out
            from .check_training import check_training

            if out is not None:
                check_out(request, out)
            check_training(request, recipe, _setting(given))
            return
        outcome = _run(request, recipe, _setting(given))
    if outcome is not None:
        _report(outcome)


def _recipe(context: typer.Context, resume: Path | None) -> Recipe:
    """The options' recipe; that of the snapshot when a run is resumed. Raises OptionError."""
    values = {name: context.params[name] for name in RECIPE}
    if resume is None:
        return Recipe.from_dict(values)
    typed = {name for name in RECIPE if _is_typed(context, name)}
    if typed - LATER:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(typed - LATER))
        raise OptionError(
            f"{names} with --resume; a run goes on by its own recipe, only --epochs and --steps may change"
        )
    from ..train import snapshots
    from ..train.run import engine_named

    engine = engine_named(context.params["engine"])
    if engine == "torch":
        _require("u2zoo train")
    base = snapshots.recipe_of(snapshots.latest(resume, engine))
    return Recipe.from_dict({**base, **{name: values[name] for name in typed}})


def _is_typed(context: typer.Context, name: str) -> bool:
    return str(context.get_parameter_source(name)).endswith("COMMANDLINE")


def _require(what: str) -> None:
    try:
        import lightning.fabric  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, error.name or "lightning", "train") from None


def _run(request: "Request", recipe: Recipe, setting: Any) -> "Outcome | None":
    from ..train.run import train

    return train(request, recipe, setting)


def _request(given: dict[str, Any]) -> "Request":
    from ..train.pairs import listing
    from ..train.run import Request

    for folder in ("images", "val_images"):
        if given[folder]:
            listing(given[folder])  # before a download, not after it
    read = {name: given[name] and _weights(given[name]) for name in ("finetune", "teacher")}
    return Request(
        images=given["images"],
        masks=given["masks"],
        validation_images=given["val_images"],
        validation_masks=given["val_masks"],
        part=given["val_part"],
        arch=given["arch"],
        start=read["finetune"],
        teacher=read["teacher"],
        resume=given["resume"],
        engine=given["engine"],
        halves=given["side_by_side"],
    )


def _weights(source: Path) -> "Checkpoint":
    from converters.loading import read_source

    from ..sources import locate

    fetch_source(source)
    located = locate(source)
    checkpoint = read_source(located.path)
    return checkpoint.with_meta(profile=located.profile) if located.profile else checkpoint


def _setting(given: dict[str, Any]) -> Any:
    from ..train.setting import Setting

    several = given["devices"] * given["nodes"] > 1
    return Setting(
        out=given["out"] or Path(),
        accelerator=given["accelerator"],
        devices=given["devices"],
        nodes=given["nodes"],
        strategy="ddp" if several else "auto",
        workers=given["workers"],
        save_every=given["save_every"],
        watcher=TrainingBar(state.err or sys.stderr),
    )


def _report(outcome: "Outcome") -> None:
    state.document(outcome.to_dict())
    best = "" if outcome.best is None else f", best validation loss {outcome.best:.4f}"
    summary = f"{outcome.steps} steps, loss {outcome.loss:.4f}{best}, {outcome.stopped}, {outcome.seconds} s"
    state.result(Whole(outcome.weights), summary)
    if outcome.skipped:
        times = sum(outcome.skipped.values())
        state.warn(f"{len(outcome.skipped)} photographs could not be read and were skipped {times} times")
