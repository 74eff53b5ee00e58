"""An application over many photographs, on this machine: worker processes around one model."""

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import U2ZooError
from ...session import MaskSession
from ...system import processors, worker_limit
from ..base import Application
from .jobs import Job
from .work import Outcome
from .workers import Pool, Process

__all__ = ["default_workers", "lanes", "run"]

MOST = 8  # workers by default: more than one model can be kept busy by
LANES = 2  # photographs in the model at once, where its runtime allows: each has half of the processors
TRIES = 2  # a photograph whose worker dies is given to a fresh one once
DEATHS = 8  # of workers in a row, with nothing done in between: it is not the photographs


def default_workers() -> int:
    """One more than processors, up to `MOST`: while `LANES` photographs are in the model, another is decoded."""
    return min(MOST, max(LANES, processors()) + 1)


def lanes() -> int:
    """Photographs in the model at once."""
    return min(LANES, processors())


def run(
    opened: Callable[[], MaskSession],
    application: Application,
    jobs: Sequence[tuple[int, Job]],
    room: Path,
    *,
    workers: int | None = None,
    at_once: int | None = None,
) -> Generator[Outcome, None, None]:
    """The outcome of each job, in the order in which they are done.

    Args:
        opened: makes the session; called once, while the workers start.
        jobs: (index, job) pairs.
        room: a folder for unfinished files, on the file system of the results; see `journal`.
        workers: processes that decode and encode; None: `default_workers`.
        at_once: photographs in the model at once, where its runtime allows; None: `lanes`. More than one may open the
            model anew.

    Raises:
        U2ZooError: what would befall every photograph: the model cannot be run, the disk is full. No process and no
            unfinished file is left, however the iteration ends.
    """
    if not jobs:
        return
    with Pool(application, room, min(len(jobs), workers or default_workers(), worker_limit())) as pool:
        session = opened()
        pool.prepare(session.preparation)
        at_once = min(at_once or lanes(), len(pool.workers)) if session.predictor.together == 1 else 1
        with ThreadPoolExecutor(session.predictor.share(at_once) if at_once > 1 else 1) as threads:
            yield from _Run(pool, session, threads, jobs).outcomes()


class _Run:
    def __init__(self, pool: Pool, session: MaskSession, threads: ThreadPoolExecutor, jobs: Sequence[tuple[int, Job]]):
        self.pool, self.session, self.threads = pool, session, threads
        self.error: Exception | None = None
        self.woken, self.wake = multiprocessing.Pipe(duplex=False)  # an error in a lane wakes the main thread
        self.waiting = deque(jobs)
        self.asked: deque[tuple[Process, np.ndarray]] = deque()  # tensors that wait for the model
        self.left = len(jobs)
        self.tries: dict[int, int] = {}
        self.deaths = 0

    def outcomes(self) -> Iterator[Outcome]:
        for worker in self.pool.workers:
            self._give_next(worker)
        while self.left:
            if self.error is not None:
                raise self.error
            for worker, message in self.pool.messages(self.woken):
                outcome = self._replace_dead(worker) if message is None else self._handle(worker, *message)
                if outcome is not None:
                    self.left -= 1
                    yield outcome

    def _give_next(self, worker: Process) -> None:
        worker.job = None
        if self.waiting:
            worker.give(*self.waiting.popleft())

    def _handle(self, worker: Process, kind: str, *values: Any) -> Outcome | None:
        if kind == "tensor":
            self.asked.append((worker, values[0]))
            self.threads.submit(self._answer)
            return None
        if kind == "stop":
            error = U2ZooError(values[0])
            error.exit_code = values[1]
            raise error
        self.deaths = 0
        self._give_next(worker)
        outcome: Outcome = values[0]
        return outcome

    def _answer(self) -> None:
        """In a lane: the model's answers go straight to the workers that wait for them.

        Takes what waits by now, as many as the model best takes at once; a later turn may find nothing left.
        """
        taken: list[tuple[Process, np.ndarray]] = []
        with contextlib.suppress(IndexError):  # another lane may take the last one
            while len(taken) < self.session.predictor.together:
                taken.append(self.asked.popleft())
        if not taken:
            return
        try:
            for (worker, _), output in zip(taken, self.session.answers([x for _, x in taken]), strict=True):
                worker.send("output", output)
        except Exception as error:
            self.error = error
            self.wake.send(None)

    def _replace_dead(self, worker: Process) -> Outcome | None:
        """Its photograph goes to a fresh worker, once; then it is counted as an error."""
        held = worker.job
        fresh = self.pool.replace(worker)
        self.deaths += 1
        if self.deaths >= DEATHS:
            raise U2ZooError(f"{self.deaths} worker processes died one after the other; try fewer --workers")
        outcome = None
        if held is not None:
            index, job = held
            self.tries[index] = self.tries.get(index, 0) + 1
            if self.tries[index] < TRIES:
                self.waiting.appendleft(held)
            else:
                outcome = Outcome(index, error=f"{job.photograph}: the process that worked on it died, twice")
        self._give_next(fresh)
        return outcome
