"""`u2zoo publish`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from .console import human_bytes, state
from .fetch import fetch_source
from .terminal import Whole

if TYPE_CHECKING:
    from converters.publish.publication import Publication
    from converters.publish.uploading import Destination, Uploaded

    from ..hub.hub_name import HubName

__all__ = ["EXAMPLES", "publish"]

EXAMPLES = {
    "See what would be sent, and the card": "u2zoo publish out --to hf:me/u2netp --dry-run --stage staged",
    "Publish for yourself alone": "u2zoo publish out --to hf:me/u2netp --private",
    "Weights that the catalog does not know": "u2zoo publish out --to hf:me/mine --source my.pth --licence mit",
}


def publish(
    paths: Annotated[
        list[Path], typer.Argument(help="Folder of files that `u2zoo convert` wrote, or the files.", metavar="FOLDER…")
    ],
    to: Annotated[str, typer.Option("--to", help="hf:OWNER/NAME, which is made where there is none.")],
    source: Annotated[
        Path | None,
        typer.Option(help="The weights they were made of; if not given, what the files name: catalog or hub."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Where none is recorded that allows it: apache-2.0, mit …, or 'other: NAME'.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="How photographs are prepared: paper, rembg …; by default as the catalog says.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of photographs to prove on, or one; scikit-image's if not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Prove and list, send nothing.")] = False,
    stage: Annotated[
        Path | None, typer.Option(help="With --dry-run: write what would be sent into this new folder.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository so that only you see it.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch; main if not given.")] = None,
    replace_readme: Annotated[
        bool, typer.Option("--replace-readme", help="Replace a README.md that this command did not write.")
    ] = False,
    message: Annotated[str | None, typer.Option("-m", "--message", help="Of the commit.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Publish converted files on the Hugging Face Hub: proved again, with a card of the figures, in one commit.

    ONNX files go where transformers.js looks for them. Log in with `hf auth login`, or set HF_TOKEN.
    """
    state.json = json
    from converters.publish.publication import Plan, check_new

    from .verify import photographs_of

    if stage and not dry_run:
        raise OptionError(f"--stage {stage}: goes with --dry-run; without it the files are sent")
    if stage:
        check_new(stage)
    name = _destination(to, revision)
    openers = photographs_of(images)
    if source is not None:
        fetch_source(source)
    with state.quiet(), state.progress(total=None) as bar:
        plan = Plan.of(paths, source, profile, licence)
        destination = None if dry_run else _opened(name, private, replace_readme)
        bar.update(bar.task_ids[0], total=len(plan.artifacts))

        def started(file: str) -> None:
            bar.update(bar.task_ids[0], description=f"{file}: proving", advance=1 if bar.tasks[0].description else 0)

        publication = plan.proved(name.repo, {key: opener() for key, opener in openers.items()}, started)
        for file, place in zip(publication.files, publication.layout.places, strict=True):
            state.result(Whole(place), human_bytes(file.result.bytes), file.result.report.summary())
    if stage:
        publication.stage(stage)
    sent = _send(destination, publication, message) if destination else None
    _conclude(name, publication, sent, stage, dry_run)


def _destination(to: str, revision: str | None) -> "HubName":
    from ..hub.hub_name import MAIN, check_revision, hub_name

    name = hub_name(to)
    if name is None or name.file:
        raise OptionError(f"--to {to}: allowed is hf:OWNER/NAME")
    if revision and name.revision not in (MAIN, revision):
        raise OptionError(f"--revision {revision}: --to says {name.revision}; name one of them")
    if not revision:
        return name
    check_revision(revision, f"--revision {revision}")
    return replace(name, revision=revision)


def _opened(name: "HubName", private: bool, replace_readme: bool) -> "Destination":
    from converters.publish.uploading import Destination

    return Destination(name, private, replace_readme)


def _send(destination: "Destination", publication: "Publication", message: str | None) -> "Uploaded":
    contents = publication.contents
    publication.check()
    sizes = {path: _size(content) for path, content in contents.items()}
    sent = dict.fromkeys(sizes, 0)
    with state.quiet(), state.progress(in_bytes=True) as bar:

        def moved(path: str, done: int) -> None:
            sent[path] = done
            bar.update(bar.task_ids[0], description=path, completed=sum(sent.values()), total=sum(sizes.values()))

        return destination.commit(contents, message or publication.message(), moved)


def _size(content: Path | str) -> int:
    return len(content.encode()) if isinstance(content, str) else content.stat().st_size


def _conclude(
    name: "HubName", publication: "Publication", sent: "Uploaded | None", stage: Path | None, dry_run: bool
) -> None:
    sizes = {path: _size(content) for path, content in publication.contents.items()}
    if dry_run:
        for path, size in sizes.items():
            state.result("would send", Whole(path), human_bytes(size))
        state.note(f"nothing was sent to {name}")
    if stage:
        state.result(Whole(stage), f"{len(sizes)} files", human_bytes(sum(sizes.values())))
    if sent:
        state.result(Whole(sent.url), f"{len(sizes)} files", human_bytes(sum(sizes.values())), f"commit {sent.commit}")
    state.document(_document(name, publication, sent, stage, sizes))


def _document(
    name: "HubName", publication: "Publication", sent: "Uploaded | None", stage: Path | None, sizes: dict[str, int]
) -> dict[str, Any]:
    return {
        "to": str(name),
        "url": sent and sent.url,
        "commit": sent and sent.commit,
        "staged": stage and str(stage),
        "contents": [{"path": path, "bytes": size} for path, size in sizes.items()],
        "proof": publication.figures(),
    }
