"""`u2zoo train`."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MissingExtraError, OptionError
from ..train.recipe import AUGMENTATIONS, PRECISIONS, SCHEDULES, Recipe
from .console import state
from .fetch import fetch_source
from .terminal import Whole
from .training_bar import TrainingBar

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..train.result import Outcome

__all__ = ["train"]

RECIPE = {field.name for field in fields(Recipe)}
LATER = {"epochs", "steps"}  # what may still be changed when a run is resumed
DEFAULT = Recipe()


def train(
    context: typer.Context,
    images: Annotated[Path, typer.Option(help="Folder of photographs.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for weights, snapshots and logs.")],
    masks: Annotated[Path | None, typer.Option(help="Folder of grey masks of the same names.")] = None,
    val_images: Annotated[Path | None, typer.Option(help="Photographs to validate on.")] = None,
    val_masks: Annotated[Path | None, typer.Option(help="Their masks.")] = None,
    val_part: Annotated[float, typer.Option(help="Or: part of the pairs to keep aside for validation.")] = 0.0,
    arch: Annotated[str | None, typer.Option(help="u2net (if not given), u2netp, u2net_nano …")] = None,
    finetune: Annotated[
        Path | None,
        typer.Option(help="Begin with these: weights, a converted model or a catalog name. They say the network."),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Their outputs are the targets: weights, a converted model or a catalog name.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="A snapshot, or a run's folder, to go on from.")] = None,
    engine: Annotated[str, typer.Option(help="torch or keras.")] = "torch",
    epochs: Annotated[int, typer.Option(help="Times through the photographs.")] = DEFAULT.epochs,
    steps: Annotated[int, typer.Option(help="Stop after so many steps; 0: by --epochs.")] = DEFAULT.steps,
    batch: Annotated[int, typer.Option(help="Photographs per step, over all processes.")] = DEFAULT.batch,
    rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = DEFAULT.rate,
    size: Annotated[int, typer.Option(help="Photographs are resized to this square.")] = DEFAULT.size,
    crop: Annotated[int, typer.Option(help="Square cut out of it at random.")] = DEFAULT.crop,
    flip: Annotated[str, typer.Option(help="vertical (the authors'), horizontal or none.")] = DEFAULT.flip,
    augment: Annotated[str, typer.Option(help=f"{', '.join(AUGMENTATIONS)}.")] = DEFAULT.augment,
    precision: Annotated[str, typer.Option(help=f"{', '.join(PRECISIONS)}.")] = DEFAULT.precision,
    schedule: Annotated[str, typer.Option(help=f"{', '.join(SCHEDULES)}.")] = DEFAULT.schedule,
    warmup: Annotated[int, typer.Option(help="Steps in which the rate climbs.")] = DEFAULT.warmup,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient; 0: none.")] = DEFAULT.clip,
    ema: Annotated[float, typer.Option(help="Decay of the weights' running average; 0: none.")] = DEFAULT.ema,
    patience: Annotated[int, typer.Option(help="Validations without a gain before it stops; 0: never.")] = (
        DEFAULT.patience
    ),
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = DEFAULT.seed,
    accelerator: Annotated[str, typer.Option(help="Lightning Fabric's: auto, cpu, cuda, mps …")] = "auto",
    devices: Annotated[int, typer.Option(help="Processes per machine.")] = 1,
    nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that read photographs ahead.")] = 2,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between snapshots.")] = 500,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train, fine-tune or distil; the defaults are the authors' recipe."""
    state.json = json
    given = context.params
    with state.quiet():
        recipe = _recipe(context, resume)
        outcome = _run(given, recipe)
    if outcome is not None:
        _report(outcome)


def _recipe(context: typer.Context, resume: Path | None) -> Recipe:
    """The options' recipe; that of the snapshot when a run is resumed. Raises OptionError."""
    values = {name: context.params[name] for name in RECIPE}
    if resume is None:
        return Recipe.from_dict(values)
    typed = {name for name in RECIPE if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
    if typed - LATER:
        names = ", ".join(f"--{name}" for name in sorted(typed - LATER))
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


def _require(what: str) -> None:
    try:
        import lightning.fabric  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, error.name or "lightning", "train") from None


def _run(given: dict[str, Any], recipe: Recipe) -> "Outcome | None":
    from ..train.pairs import listing
    from ..train.run import Request, train

    for folder in ("images", "val_images"):
        if given[folder]:
            listing(given[folder])  # before a download, not after it
    read = {name: given[name] and _weights(given[name]) for name in ("finetune", "teacher")}
    request = Request(
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
    )
    return train(request, recipe, _setting(given))


def _weights(source: Path) -> "Checkpoint":
    from converters.loading import read_source

    from ..sources import locate

    fetch_source(source)
    return read_source(locate(source).path)


def _setting(given: dict[str, Any]) -> Any:
    from ..train.setting import Setting

    several = given["devices"] * given["nodes"] > 1
    return Setting(
        out=given["out"],
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
    told = f"{outcome.steps} steps, loss {outcome.loss:.4f}{best}, {outcome.stopped}, {outcome.seconds} s"
    state.result(Whole(outcome.weights), told)
    if outcome.skipped:
        times = sum(outcome.skipped.values())
        state.warn(f"{len(outcome.skipped)} photographs could not be read and were skipped {times} times")
