"""An application over photographs as they arrive in a folder, until somebody ends it."""

import os
import time
from collections.abc import Iterator
from contextlib import closing

from ...errors import InputError
from ...session import MaskSession
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
) -> Iterator[tuple[Job, Outcome]]:
    """Every photograph with what became of it, for ever. Those that are done go into the journal.

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
        jobs = arrivals.due()[:MOST]
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
    if not arrivals.finish(job):
        return False  # it has changed while it was worked on, and comes again
    book.add(job, outcome)
    return True
