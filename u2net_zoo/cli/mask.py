"""`u2zoo mask`."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converters.registry import FORMATS

from .. import BUNDLED
from ..errors import ImageError, InputError, OutputError, U2ZooError
from .console import state
from .fetch import fetch_source

if TYPE_CHECKING:
    from ..api import Session

__all__ = ["mask"]


def mask(
    image: Annotated[Path, typer.Argument(help="A photograph, or a folder of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The mask (.png), or a folder for masks.")],
    model: Annotated[
        Path, typer.Option("--model", help="Weights, an artifact of any format, or a catalog name.")
    ] = Path(BUNDLED),
    profile: Annotated[
        str | None, typer.Option(help="How photographs are prepared: paper, rembg …; by default as the catalog says.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help=f"What runs the weights: torch (the default), {', '.join(FORMATS)}.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Photographs in, greyscale PNG masks out, at the photographs' own size and the right way up."""
    state.json = json
    from ..api import Session
    from ..preprocessing import get_profile

    jobs = _jobs(image, out)
    _check_targets(jobs, Path(model))
    if profile:
        get_profile(profile)
    fetch_source(model)
    done, failed = [], []
    with state.quiet(), state.progress(total=len(jobs)) as bar:
        session = Session(model, profile=profile, runtime=runtime)
        for photograph, target in jobs:
            bar.update(bar.task_ids[0], description=photograph.name)
            try:
                done.append(_one(session, photograph, target))
            except ImageError as error:
                if not image.is_dir():
                    raise
                failed.append({"image": str(photograph), "error": str(error)})
                state.warn(str(error))
            bar.advance(bar.task_ids[0])
    state.document({"model": str(model), "profile": session.profile.name, "masks": done, "failed": failed})
    if failed:
        raise U2ZooError(f"{len(failed)} of {len(jobs)} photographs could not be read; the others have their masks")


def _one(session: "Session", photograph: Path, target: Path) -> dict:
    from ..files import staged
    from ..preprocessing import read_image

    start = time.perf_counter()
    picture = read_image(photograph)
    result = session.mask(picture)
    with staged(target) as path:
        result.save(path, format="PNG")
    seconds = time.perf_counter() - start
    state.result(f"{target}  {picture.width}x{picture.height}  {seconds:.2f} s")
    return {"image": str(photograph), "mask": str(target), "size": list(picture.size), "seconds": round(seconds, 3)}


def _check_targets(jobs: list[tuple[Path, Path]], model: Path) -> None:
    """Raises OutputError where a mask would take the place of a photograph or of the model."""
    read = {file.resolve() for file in (model, *(photograph for photograph, _ in jobs))}
    for _, target in jobs:
        if target.resolve() in read:
            raise OutputError(f"{target}: would replace a file that is read; name another place with -o")


def _jobs(image: Path, out: Path) -> list[tuple[Path, Path]]:
    """(photograph, mask) pairs; two photographs of one stem keep their suffixes in their masks' names."""
    if not image.exists():
        raise InputError(f"{image}: no such file or folder")
    from ..preprocessing import picture_suffixes

    if out.suffix.lower() in picture_suffixes() - {".png"} and not out.is_dir():
        raise OutputError(f"{out}: masks are PNG files; name a .png or a folder with -o")
    if not image.is_dir():
        return [(image, out if out.suffix.lower() == ".png" else out / f"{image.stem}.png")]
    if out.suffix.lower() == ".png" and not out.is_dir():
        raise OutputError(f"{out}: the masks of a folder go into a folder; name one with -o")
    photographs = sorted(
        file for file in image.iterdir() if file.suffix.lower() in picture_suffixes() and file.is_file()
    )
    if not photographs:
        raise InputError(f"{image}: holds no photographs")
    stems = Counter(file.stem for file in photographs)
    names = [file.stem if stems[file.stem] == 1 else file.name for file in photographs]
    return [(file, out / f"{name}.png") for file, name in zip(photographs, names, strict=True)]
