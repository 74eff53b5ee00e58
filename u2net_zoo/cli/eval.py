"""`u2zoo eval`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from ..sources import file_of
from ..system import processors, scratch_folder
from . import completion
from .console import state
from .fetch import fetch_source
from .runtime_options import InputOption, class_names

if TYPE_CHECKING:
    from ..session import MaskSession
    from ..train.class_scores import ClassReport
    from ..train.evaluate import Report

__all__ = ["EXAMPLES", "evaluate"]

EXAMPLES = {
    "Score masks that are there": "u2zoo eval predicted --masks masks",
    "Score maps of classes": "u2zoo eval predicted --masks masks --classes background,object",
    "Score a model, with tables and a chart": "u2zoo eval u2net_nano --images photos --masks masks -o scores",
}


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of predicted masks, or a model: weights, a converted one, a catalog name, hf:OWNER/NAME.",
            autocompletion=completion.sources,
        ),
    ],
    masks: Annotated[Path, typer.Option(help="Folder of true masks.")],
    images: Annotated[Path | None, typer.Option(help="Folder of photographs, for a model.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for pictures.csv, curve.csv and curve.png, or classes.csv."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Preprocessing profile of a model: paper, rembg …; by default the catalog's.",
            autocompletion=completion.profiles,
        ),
    ] = None,
    takes: InputOption = None,
    classes: Annotated[
        str | None,
        typer.Option(help="The masks are maps of classes: their names; by default those that the model names."),
    ] = None,
    ignore: Annotated[
        int,
        typer.Option(
            min=-1, max=65_535, help="A number in true maps whose pixels are not scored, such as 255; -1: none."
        ),
    ] = -1,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Score masks against true ones: MAE, F, S and E measures; maps of classes: the IoU of each.

    MAE, maximum and weighted F-measure, S-measure, E-measure, relaxed boundary F-measure, precision and recall: of
    each picture and of all.
    """
    state.json = json
    with state.quiet():
        if _is_predictions(source):
            if images is not None:
                raise OptionError(f"--images with the predictions in {source}; it is for a model that is to be run")
            for name, typed in (("--profile", profile), ("--input", takes)):
                if typed is not None:
                    raise OptionError(f"{name} with the predictions in {source}; it is for a model that is to be run")
            _check_ignored(ignore, _names(classes))
            report = _score(_listing(source), masks, workers, _names(classes), ignore)
        else:
            report = _run_model(source, images, masks, profile, takes, workers, _names(classes), ignore)
        written = _write(report, out, source)
    _show(report, written)


def _names(classes: str | None) -> tuple[str, ...]:
    from ..weight_words import named_classes

    return named_classes([name.strip() for name in classes.split(",")]).names if classes else ()


def _check_ignored(ignore: int, classes: tuple[str, ...]) -> None:
    """Raises OptionError."""
    from ..train.recipe import check_ignored

    if ignore >= 0 and not classes:
        raise OptionError(f"--ignore {ignore}: masks of one object have no such numbers; for maps name --classes")
    check_ignored(ignore, classes)


def _score(
    predictions: Mapping[str, Path], masks: Path, workers: int, classes: tuple[str, ...], ignore: int
) -> "Report | ClassReport":
    if not classes:
        return _compare(predictions, masks, workers)
    from ..train.class_scores import compare_classes

    truth = _listing(masks)
    with state.progress(total=len(set(predictions) | set(truth))) as bar:
        told = lambda done, total: bar.update(bar.task_ids[0], completed=done, description="scoring")  # noqa: E731
        return compare_classes(predictions, truth, classes, told, ignore)


def _is_predictions(source: Path) -> bool:
    """Whether a folder holds predictions; a folder may also be a model (.mlpackage, SavedModel)."""
    from converters.registry import FORMATS

    if not source.is_dir() or source.suffix:
        return False
    return not any(fmt.accepts(source) for fmt in FORMATS.values())


def _listing(folder: Path) -> dict[str, Path]:
    from ..train.pairs import listing

    return listing(folder)


def _compare(predictions: Mapping[str, Path], masks: Path, workers: int) -> "Report":
    from ..train.evaluate import compare

    truth = _listing(masks)
    with state.progress(total=len(set(predictions) | set(truth))) as bar:
        return compare(
            predictions,
            truth,
            workers=workers or processors(),
            progress=lambda done, total: bar.update(bar.task_ids[0], completed=done, description="scoring"),
        )


def _run_model(
    model: Path,
    images: Path | None,
    masks: Path,
    profile: str | None,
    takes: str | None,
    workers: int,
    classes: tuple[str, ...],
    ignore: int,
) -> "Report | ClassReport":
    """Masks of every photograph that can be read go to a temporary folder first; the others are named."""
    if images is None:
        raise OptionError(f"no --images for the model {model}; or give a folder of predicted masks")
    from ..api import Session

    photographs = _listing(images)
    _listing(masks)  # before a download, not after it
    fetch_source(model)
    classes = classes or class_names(file_of(model))
    _check_ignored(ignore, classes)
    with scratch_folder() as folder:
        _predict(Session(model, profile=profile, takes=takes), photographs, Path(folder))
        predicted = {path.stem: path for path in Path(folder).iterdir()}
        return _score(predicted, masks, workers, classes, ignore)


def _predict(session: "MaskSession", photographs: Mapping[str, Path], folder: Path) -> None:
    from ..errors import ImageError
    from ..preprocessing import read_image

    with state.progress(total=len(photographs)) as bar:
        for stem, photograph in photographs.items():
            try:
                session.mask(read_image(photograph)).save(folder / f"{stem}.png")
            except ImageError as error:
                state.warn(str(error))
            bar.update(bar.task_ids[0], advance=1, description="masks")


def _write(report: "Report | ClassReport", out: Path | None, source: Path) -> list[Path]:
    from ..train.class_scores import ClassReport, write_classes, write_rows

    if out is None:
        return []
    if isinstance(report, ClassReport):
        write_rows(report, out / "pictures.csv")
        write_classes(report, out / "classes.csv")
        return [out / "pictures.csv", out / "classes.csv"]
    from ..train.evaluate import write_csv, write_curve, write_plot

    files = [out / "pictures.csv", out / "curve.csv", out / "curve.png"]
    write_csv(report, files[0])
    write_curve(report, files[1])
    write_plot([(source.name, report)], files[2])
    return files


def _show(report: "Report | ClassReport", written: list[Path]) -> None:
    content: dict[str, Any] = report.to_dict()
    state.document({**content, "files": [str(path) for path in written]})
    for name, flags in content["flags"].items():
        state.warn(f"{name}: {'; '.join(flags)}")
    from ..train.metrics import MEASURES

    rows = [(name, f"{content[name]:.4f}") for name in MEASURES if name in content]
    if "miou" in content:
        rows = [
            (f"IoU {name}", "-" if value is None else f"{value:.4f}") for name, value in content["class_iou"].items()
        ]
        rows += [("mean IoU", f"{content['miou']:.4f}"), ("pixels right", f"{content['pixel_accuracy']:.4f}")]
    state.table(("measure", "value"), rows, title=f"{content['scored']} of {content['pictures']} pictures")
    for path in written:
        state.result(path)
