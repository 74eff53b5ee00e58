"""`u2zoo watch`."""

import contextlib
import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, OptionError, OutputError, UnknownNameError, install_hint
from ..system import same_file
from .console import state

if TYPE_CHECKING:
    from ..apps.base import Application
    from ..apps.batch.events import Wakes
    from ..apps.batch.journal import Journal
    from ..session import MaskSession
    from .run_application import Request

__all__ = ["EXAMPLES", "PASSES_ON", "watch"]

EXAMPLES = {
    "Cut out whatever arrives in a folder": "u2zoo watch incoming cut",
    "Masks by weights of your own, from a network drive": (
        "u2zoo watch incoming masks --app mask --poll 5 --model u2netp.pth"
    ),
}

PASSES_ON = {"ignore_unknown_options": True, "allow_extra_args": True}  # options of the application
POLL = 2.0  # seconds, where watchdog is not installed
ANEW = "name another OUT"


def watch(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="The folder where photographs arrive.", metavar="IN")],
    out: Annotated[str, typer.Argument(help="The folder for results.", metavar="OUT")],
    app: Annotated[
        str, typer.Option(help="What is made of each: cutout, mask, replace … as the command of that name.")
    ] = "cutout",
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into the folders of the folder too.")] = False,
    settle: Annotated[
        float, typer.Option(help="Seconds for which a file has to stay the same before it is touched.")
    ] = 1.0,
    poll: Annotated[
        float | None,
        typer.Option(help="Look every so many seconds instead: network drives tell nothing of what others do there."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout for each file, each on a line.")] = (
        False
    ),
) -> None:
    """Cut out photographs as they arrive in a folder, until Ctrl-C.

    What was done before stays done.

    Behind IN and OUT come the options of the application, such as --model, --profile, --device or --matting: see its
    own help, u2zoo cutout --help.
    """
    from ..apps.registry import APPLICATIONS
    from .applications import parser_of

    if app not in APPLICATIONS:
        raise UnknownNameError("application", app, APPLICATIONS)
    for name, seconds in (("--settle", settle), ("--poll", poll)):
        if seconds is not None and not 0 < seconds <= 86_400:
            raise OptionError(f"{name} {seconds}: allowed are seconds above 0, up to 86400")
    _check_folders(folder, out)

    from ..sources import file_of
    from .fetch import fetch_source
    from .runtime_options import class_names

    def run(application: "Application", request: "Request") -> None:
        _check(request, out)
        fetch_source(request.model)  # the file says which classes it knows
        known = application.knowing(class_names(file_of(request.model)))
        _Watch(known, request, folder, settle, poll).run()

    flags = [flag for flag, on in (("--json", json), ("--recursive", recursive)) if on]
    arguments = ["-o", out, *context.args, *flags, "--", folder]  # a second -o would be the one that counts
    parser_of(APPLICATIONS[app], run).main(arguments, prog_name=f"u2zoo watch --app {app}", standalone_mode=False)


def _check_folders(folder: str, out: str) -> None:
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder; IN and OUT come first, then the application's options")
    if same_file(Path(folder), Path(out)):
        raise OutputError(f"{out}: results would be taken for new photographs; name another folder for them")
    if any(same_file(above, Path(out)) for above in Path(folder).resolve().parents):
        raise OutputError(f"{out}: holds {folder}, where photographs arrive; name a folder beside it for results")
    if os.path.exists(out) and not os.path.isdir(out):
        raise OutputError(f"{out}: is a file; name a folder for results")


def _check(request: "Request", out: str) -> None:
    """Raises UsageError for options of a run over many photographs that make no sense here."""
    if len(request.images) > 1:
        raise OptionError(
            f"{request.images[0]}: not known here; watch takes IN and OUT, then the application's options"
        )
    if request.out != out:
        raise OptionError(f"-o {request.out}: does not go with watch; results go into OUT, {out}; do without -o")
    if request.resume:
        raise OptionError("--resume does not go with watch: what was done before stays done; leave it out")
    for name, given in (("--errors", request.errors), ("--engine", request.engine != "local")):
        if given:
            raise OptionError(f"{name} does not go with watch; each line, or --json, says what became of a file")
    request.check()


class _Watch:
    """A command that has been understood."""

    def __init__(self, application: "Application", request: "Request", folder: str, settle: float, poll: float | None):
        self.application, self.request, self.folder = application, request, folder
        self.settle, self.poll = settle, poll
        self.count = 0
        state.json = request.json

    def run(self) -> None:
        from ..apps.batch.journal import journal
        from .run_application import settings_of

        settings = settings_of(self.application, self.request)
        with self._wakes() as wakes, journal(Path(self.request.out), settings, resume=True, anew=ANEW) as book:
            try:
                self._watch(self._session(), wakes, book)
            except (KeyboardInterrupt, SystemExit):  # that is how it is meant to end
                state.result("ended", f"{self.count} {self.application.plural}")

    def _session(self) -> "MaskSession":
        from .run_application import Opening
        from .runtime_options import own_profile

        request = self.request
        profile = request.profile or self.application.profile(own_profile(request.model, self.application.model))
        with state.quiet():
            return Opening(request.model, profile, request.runtime, request.input, request.device)()

    def _watch(self, session: "MaskSession", wakes: "Wakes", book: "Journal") -> None:
        from ..apps.batch.arrivals import Arrivals, Names
        from ..apps.batch.watched import watched
        from .run_application import parts_of, row_of

        earlier = {photograph: row["target"] for photograph, row in book.finished.items()}
        arrivals = Arrivals(
            self.folder, Names(self.request.out, self.application, earlier), recursive=self.request.recursive,
            settle=self.settle, done=lambda job: book.outcome(0, job) is not None, clock=time.monotonic,
        )  # fmt: skip
        state.result(f"{self.folder} → {self.request.out}", self.application.name, self.request.model, "Ctrl-C ends it")
        running = watched(
            session, self.application, arrivals, wakes, book, workers=self.request.workers, model=self.request.model
        )
        for job, outcome in running:
            if outcome.error:
                state.warn(outcome.error)
                state.line({"image": job.photograph, "error": outcome.error})
                continue
            self.count += 1
            state.result(*parts_of(outcome))
            if warning := outcome.facts.get("warning"):
                state.warn(f"{job.name}: {warning}")
            state.line(row_of(self.application, job, outcome))

    @contextlib.contextmanager
    def _wakes(self) -> "Iterator[Wakes]":
        from ..apps.batch.events import Clock, native

        if self.poll is None and find_spec("watchdog") is None:
            state.note(f"looks every {POLL:g} s; at once with the package watchdog: {install_hint('watch')}")
        if self.poll is not None or find_spec("watchdog") is None:
            yield Clock(self.poll or POLL)
            return
        with native(self.folder, self.request.out, recursive=self.request.recursive) as wakes:
            yield wakes
