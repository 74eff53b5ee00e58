"""`u2zoo verify`."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, OutputError, ParityError
from .console import human_bytes, state
from .fetch import fetch_source
from .options import parse_size

if TYPE_CHECKING:
    from PIL.Image import Image

    from converters.verify import Verdict

    from ..checkpoint import Checkpoint

__all__ = ["verify"]


def verify(
    artifacts: Annotated[list[Path], typer.Argument(help="Converted models of any format, whoever made them.")],
    against: Annotated[Path, typer.Option(help="Weights, another artifact, or a catalog name: what is right.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder of photographs, or one; scikit-image's if not given.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also write a page with pictures: FILE.html.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="How photographs are prepared: paper, rembg …; by default as the catalog says.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input size, N or HxW, of artifacts that take any.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare artifacts with a checkpoint: the same tensor, the same photographs; where and why they part."""
    state.json = json
    from converters.sources import format_of, read_source
    from converters.verify import Verifier

    from ..preprocessing import get_profile
    from ..sources import locate

    wanted = parse_size(size) if size is not None else None
    chosen = get_profile(profile) if profile else None
    for path in artifacts:
        format_of(path).require()
    photographs = _photographs(images)
    fetch_source(against)
    with _page(report) as finish, state.quiet(), state.progress(total=len(artifacts)) as bar:
        located = locate(against)
        checkpoint = read_source(located.path)
        known = bool(profile or located.profile)
        chosen = chosen or get_profile(located.profile or "paper")
        pictures = _Pictures(photographs) if report else None
        verifier = Verifier(checkpoint, chosen, photographs, wanted, known=known)
        verdicts = []
        for path in dict.fromkeys(artifacts):
            bar.update(bar.task_ids[0], description=path.name)
            verdicts.append(verifier.verify(path, pictures.of(path) if pictures else None))
            bar.advance(bar.task_ids[0])
            for line in _lines(verdicts[-1]):
                state.result(line)
        if pictures:
            finish(verdicts, pictures.gallery, list(photographs), checkpoint, chosen.name)
    _conclude(verdicts, against, report, checkpoint)


def _conclude(verdicts: "list[Verdict]", against: Path, report: Path | None, checkpoint: "Checkpoint") -> None:
    if any(verdict.report.flat for verdict in verdicts):
        state.warn("the masks of these weights hardly vary; agreement on an untrained network proves little")
    if report:
        state.result(f"{report}  {human_bytes(report.stat().st_size)}")
    document = {"against": str(against), "architecture": checkpoint.arch.name, "report": report and str(report)}
    state.document({**document, "artifacts": [verdict.to_json() for verdict in verdicts]})
    wrong = [verdict.path.name for verdict in verdicts if not verdict.ok]
    if wrong:
        raise ParityError(f"{len(wrong)} of {len(verdicts)} outside the bounds: {', '.join(wrong)}")


class _Pictures:
    """What the page will show, gathered while artifacts are verified."""

    def __init__(self, photographs: "Mapping[str, Image]"):
        from converters.report import Gallery

        self.gallery = Gallery()
        for photograph in photographs.values():
            self.gallery.add_photograph(photograph)

    def of(self, path: Path) -> Any:
        return lambda number, mask, expected: self.gallery.add(path, number, mask, expected)


@contextlib.contextmanager
def _page(report: Path | None) -> Iterator[Any]:
    """The function that writes the page. That it can be written is seen before the work, not after it."""
    if report is None:
        yield None
        return
    if report.suffix.lower() not in (".html", ".htm") or report.is_dir():
        raise OutputError(f"{report}: the report is one HTML file; name a .html with --report")
    from converters.report import write_report

    from ..files import staged

    with staged(report) as path:
        yield lambda *arguments: write_report(path, *arguments)


def _photographs(images: Path | None) -> "dict[str, Image]":
    """name -> picture. Raises InputError: there is none."""
    from ..preprocessing import picture_suffixes, read_image

    if images is None:
        from converters.quantise import photographs

        return dict(zip(photographs.BUNDLED, photographs.images(), strict=True))
    if not images.exists():
        raise InputError(f"{images}: no such file or folder")
    files = [images] if images.is_file() else sorted(f for f in images.iterdir() if _is_photograph(f))
    if not files:
        raise InputError(f"{images}: holds no photographs; looked for {', '.join(sorted(picture_suffixes())[:6])} …")
    return {file.name: read_image(file) for file in files}


def _is_photograph(file: Path) -> bool:
    from ..preprocessing import picture_suffixes

    return file.suffix.lower() in picture_suffixes() and file.is_file() and not file.name.startswith(".")


def _lines(verdict: "Verdict") -> Iterator[str]:
    result = (
        "differs" if not verdict.ok else "agrees" if verdict.precision == "fp32" else f"agrees as {verdict.precision}"
    )
    model = verdict.report.summary()
    picture = f"IoU {verdict.mean('iou'):.4f}  MAE {verdict.mean('mae'):.3f}/255  off {verdict.mean('off'):.2%}"
    picture = picture if verdict.pictures else "none, the network takes no photographs"
    took = f"{1000 * verdict.seconds:.0f} ms  {human_bytes(verdict.usage.memory)}"
    yield f"{result:<9} {verdict.path}  tensor: {model}  pictures: {picture}  {took}"
    if verdict.diagnosis:
        for line in verdict.diagnosis.lines():
            yield f"          {line}"
