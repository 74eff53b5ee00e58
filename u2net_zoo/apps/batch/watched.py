"""An application over photographs as they arrive in a folder, until somebody ends it."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ...errors import InputError
from ...session import MaskSession
from ...system import same_file
from ..base import Application
from .arrivals import Arrivals
from .events import Wakes
from .jobs import Job
from .journal import Journal
from .local import run
from .work import Outcome

__all__ = ["watched"]

MOST = 64  # photographs of one run: others that come meanwhile need not wait for thousands
REST = 10  # times as long as a look took nothing is looked at: a copy of many files is one event after another
SHORTEST = 0.1  # seconds between two looks


def watched(
    session: MaskSession,
    application: Application,
    arrivals: Arrivals,
    wakes: Wakes,
    book: Journal,
    *,
    workers: int | None = None,
    model: Path | None = None,
) -> Iterator[tuple[Job, Outcome]]:
    """Every photograph with what became of it, for ever. Those that are done go into the journal.

    A photograph whose result would take the place of one, or of `model`, fails.

    Workers start when something is due, and end with it; the model stays. Nothing runs while nothing comes.

    Raises:
        InputError: the folder is gone. U2ZooError: what would befall every photograph; see `run`.
    """
    look = True
    while True:
        start = time.monotonic()
        if look:
            if not os.path.isdir(arrivals.folder):
                raise InputError(f"{arrivals.folder}: the folder is gone")
            arrivals.look()
        rest = start + max(SHORTEST, REST * (time.monotonic() - start))
        due = arrivals.due()[:MOST]
        refused = [job for job in due if _replaces(application, job, arrivals, model)]
        for job in refused:
            if arrivals.fail(job):
                yield job, Outcome(0, error=f"{job.target}: would replace a file that is read; rename {job.photograph}")
        jobs = [job for job in due if job not in refused]
        # One in the model at a time: for more it would be opened anew with each run.
        running = run(lambda: session, application, list(enumerate(jobs)), book.room, workers=workers, at_once=1)
        with closing(running):
            for outcome in running:
                if _is_told(arrivals, book, jobs[outcome.index], outcome):
                    yield jobs[outcome.index], outcome
        look = wakes.wait(arrivals.next())
        time.sleep(max(0.0, rest - time.monotonic()) if look else 0)


def _is_told(arrivals: Arrivals, book: Journal, job: Job, outcome: Outcome) -> bool:
    if outcome.error:
        return arrivals.fail(job)
    made_of = arrivals.finish(job)
    if not made_of:
        return False  # it has changed while it was worked on, and comes again
    book.add(job, outcome, made_of)
    return True


def _replaces(application: Application, job: Job, arrivals: Arrivals, model: Path | None) -> bool:
    """Whether a file of the result would be one that is read, or a new photograph: by links, else folders lie apart."""
    given, out = Path(arrivals.folder).resolve(), Path(arrivals.names.out).resolve()
    read = [Path(job.photograph), *([model] if model else [])]
    for file in (job.beside(key) for key in ("", *application.beside)):
        place = file.resolve()
        if any(same_file(file, other) for other in read):
            return True
        if place.is_relative_to(given) and not place.is_relative_to(out):
            return True
    return False
