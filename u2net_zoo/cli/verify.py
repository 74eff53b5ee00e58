"""`u2zoo verify`."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..devices import AUTO, BY_PREFERENCE, CPU, get_device
from ..errors import InputError, OutputError, ParityError
from . import completion
from .console import human_bytes, state
from .fetch import fetch_source
from .options import parse_size
from .runtime_options import DeviceOption

if TYPE_CHECKING:
    from PIL.Image import Image

    from converters import Format
    from converters.verify.verifier import VerificationResult

    from ..checkpoint import Checkpoint

    Openers = dict[str, Callable[[], Image]]

__all__ = ["EXAMPLES", "photographs_of", "verify"]

EXAMPLES = {
    "Does this file compute what its weights compute?": "u2zoo verify u2net_nano.onnx --against u2net_nano",
    "On photographs of your own, with a page to look at": (
        "u2zoo verify u2net_nano.onnx --against my.pth --images photos --report r.html"
    ),
}

INDENT = 10  # of what is said about the file above


def verify(
    artifacts: Annotated[list[Path], typer.Argument(help="Converted models of any format, made by anybody.")],
    against: Annotated[
        Path,
        typer.Option(
            help="The reference: weights, another model, a catalog name, hf:OWNER/NAME.",
            autocompletion=completion.sources,
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(help="A folder of photographs, or one; by default scikit-image's.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also write a page with pictures, FILE.html.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Preprocessing profile: paper, rembg …; by default the catalog's.", autocompletion=completion.profiles
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input size, N or HxW, of models that take any.")] = None,
    device: DeviceOption = CPU,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Check converted models: where and why do they differ?

    Model and weights get the same tensor and the same photographs. The exit code is 0 when all agree, 1 when one
    differs, 2 when something cannot be read.
    """
    state.json = json
    from converters.isolated import open_isolated
    from converters.loading import format_of, read_source
    from converters.registry import FORMATS
    from converters.verify.verifier import Verifier

    from ..preprocessing import get_profile, profile_for
    from ..sources import locate

    wanted = parse_size(size) if size is not None else None
    if profile:
        get_profile(profile)
    beside = {fmt.companion for fmt in FORMATS.values() if fmt.companion}
    files = [path for path in dict.fromkeys(artifacts) if path.suffix not in beside] or artifacts[:1]
    device = _device_of([format_of(path) for path in files], device)
    openers = photographs_of(images)
    fetch_source(against)
    total = len(files) * len(openers)
    with _page(report, openers, len(files)) as page, state.quiet(), state.progress(total=total) as bar:
        located = locate(against)
        checkpoint = read_source(located.path)
        known = bool(profile or located.profile or "profile" in checkpoint.meta)
        chosen = profile_for(checkpoint.meta, profile or located.profile)
        verifier = Verifier(
            checkpoint, chosen, page.photographs, wanted, known, partial(open_isolated, device=device, exact=True)
        )
        results = []
        for done, path in enumerate(files, 1):
            bar.update(bar.task_ids[0], description=path.name)
            results.append(verifier.verify(path, page.shown(path, lambda: bar.advance(bar.task_ids[0]))))
            bar.update(bar.task_ids[0], completed=done * len(openers))
            for parts in _lines(results[-1]):
                state.result(*parts, indent=INDENT)
        page.finish(results, checkpoint, chosen.name)
    _conclude(results, against, report, checkpoint)


def _device_of(formats: "list[Format]", asked: str) -> str:
    """The device, which all artifacts' runtimes have; on `auto` the first that they have. Raises UsageError."""
    asked = get_device(asked)
    for fmt in formats:
        fmt.require_running()
        if asked != AUTO:
            fmt.check_device(asked)
    if asked != AUTO:
        return asked
    able = (each for each in BY_PREFERENCE if all(each in fmt.devices for fmt in formats))
    found = next(each for each in able if each == CPU or not any(fmt.lacks(each) for fmt in formats))
    state.note(f"device: {found}")
    return found


def _conclude(
    results: "list[VerificationResult]", against: Path, report: Path | None, checkpoint: "Checkpoint"
) -> None:
    if any(result.report.flat for result in results):
        state.warn("the masks of these weights hardly vary; agreement on an untrained network proves little")
    if report:
        state.result(report, human_bytes(report.stat().st_size))
    document = {"against": str(against), "architecture": checkpoint.arch.name, "report": report and str(report)}
    state.document({**document, "artifacts": [result.to_json() for result in results]})
    wrong = [result.path.name for result in results if not result.ok]
    if wrong:
        raise ParityError(f"{len(wrong)} of {len(results)} outside the bounds: {', '.join(wrong)}")


class _Page:
    """What the page will show, gathered while artifacts are verified; nothing where none is asked for."""

    def __init__(self, target: Path | None, openers: "Openers", artifacts: int):
        from converters.verify.photograph_cache import LazyPhotographs
        from converters.verify.report import Gallery

        self.target, self.gallery = target, Gallery(len(openers), artifacts)
        self.photographs = LazyPhotographs(openers, self.gallery.add_photograph if target else None)

    def shown(self, path: Path, after: Callable[[], None]) -> Callable[..., None]:
        """Takes what an artifact answered to each photograph."""

        def show(number: int, mask: "Image", expected: "Image") -> None:
            if self.target:
                self.gallery.add(path, number, mask, expected)
            after()

        return show

    def finish(self, results: "list[VerificationResult]", checkpoint: "Checkpoint", profile: str) -> None:
        from converters.verify.report import write_report

        if self.target:
            write_report(self.target, results, self.gallery, list(self.photographs), checkpoint, profile)


@contextlib.contextmanager
def _page(report: Path | None, openers: "Openers", artifacts: int) -> Iterator[_Page]:
    """The page. That it can be written is seen before the work, not after it."""
    if report is None:
        yield _Page(None, openers, artifacts)
        return
    if report.suffix.lower() not in (".html", ".htm") or report.is_dir():
        raise OutputError(f"{report}: the report is one HTML file; name a .html with --report")
    from ..files import staged

    with staged(report) as path:
        yield _Page(path, openers, artifacts)


def photographs_of(images: Path | None) -> "Openers":
    """name -> what reads the picture. Raises InputError: there is none."""
    from ..photographs import photographs_in, picture_suffixes, read_image

    if images is None:
        from converters import sample_images

        return {name: partial(sample_images.bundled, name) for name in sample_images.BUNDLED}
    if not images.exists():
        raise InputError(f"{images}: no such file or folder")
    files = [images] if images.is_file() else photographs_in(images)
    if not files:
        raise InputError(f"{images}: holds no photographs; looked for {', '.join(sorted(picture_suffixes())[:6])} …")
    return {file.name: partial(read_image, file) for file in files}


def _lines(result: "VerificationResult") -> Iterator[tuple[object, ...]]:
    """The parts of each line."""
    from converters.parity.outputs import listed

    word = "differs" if not result.ok else "agrees" if result.precision == "fp32" else f"agrees as {result.precision}"
    model = result.report.summary()
    picture = f"IoU {result.mean('iou'):.4f}  MAE {result.mean('mae'):.3f}/255  off {result.mean('off'):.2%}"
    picture = picture if result.pictures else "none: no profile fits the network's input and output"
    took = f"{1000 * result.seconds:.0f} ms  {human_bytes(result.usage.memory)}"
    yield f"{word:<8}", result.path, f"tensor: {model}", f"pictures: {picture}", took
    below = [f"takes: {result.takes}"] if ", as " in result.takes else []
    below += [f"beside the maps it answers {listed(result.others)}"] if result.others else []
    below += result.diagnosis.lines() if result.diagnosis else []
    yield from ((" " * INDENT + line,) for line in below)
