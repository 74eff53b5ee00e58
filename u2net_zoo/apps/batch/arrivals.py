"""Photographs that arrive in a folder: which of them are new, whole, and not yet done."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ...system import path_key, slashed
from ..base import Application
from .jobs import DEFAULT, Job, Source, photographs_of
from .journal import stamp

__all__ = ["PATIENCE", "Arrivals", "Names"]

PATIENCE = 10.0  # seconds for which what cannot be decoded is taken for a photograph that is still being written
FIRST = 0.5  # seconds to the second attempt; to each further one twice as many


class Names:
    """Names of results that stay what they were, whatever photographs come later.

    `a.jpg` becomes `a.png`; when an `a.webp` comes, that one becomes `a.webp.png`.

    Args:
        earlier: photographs and the results that they have already.
    """

    def __init__(self, out: str, application: Application, earlier: Mapping[str, str]):
        self.out, self.application = out, application
        self.targets = dict(earlier)
        self.taken: dict[str, str] = {}
        for photograph, target in earlier.items():
            self._take(Job(photograph, target, ""))

    def job(self, source: Source) -> Job:
        """The photograph and where its result goes."""
        if source.photograph in self.targets:
            return self._job(source, self.targets[source.photograph])
        for stem in self._stems(source):
            job = self._job(source, os.path.join(self.out, stem + self.application.suffix() + DEFAULT))
            if all(self.taken.get(key, job.photograph) == job.photograph for key in self._keys(job)):
                break
        self._take(job)
        self.targets[job.photograph] = job.target
        return job

    def _job(self, source: Source, target: str) -> Job:
        return Job(source.photograph, target, slashed(source.name))

    def _stems(self, source: Source) -> Iterator[str]:
        yield source.stem
        yield source.name
        number = 2
        while True:
            yield f"{source.name}-{number}"
            number += 1

    def _keys(self, job: Job) -> list[str]:
        return [path_key(str(job.beside(key))) for key in ("", *self.application.beside)]

    def _take(self, job: Job) -> None:
        self.taken.update(dict.fromkeys(self._keys(job), job.photograph))


@dataclass
class _Candidate:
    """A photograph that is not done: since when it has been as it is, and when it is tried."""

    source: Source
    stamp: list[int]
    due: float
    pause: float = FIRST
    failing: float | None = None  # since when it has failed like this


class Arrivals:
    """What there is to do in a folder, as it is told to look.

    A photograph is due when its size and time of change have been the same for `settle` seconds. One that cannot be
    decoded then is tried again for `PATIENCE` seconds, and whenever it changes.

    Args:
        done: whether a job was done before; see `Journal.outcome`.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        folder: str,
        names: Names,
        *,
        recursive: bool,
        settle: float,
        done: Callable[[Job], bool],
        clock: Callable[[], float],
    ):
        self.folder, self.names, self.recursive, self.settle = folder, names, recursive, settle
        self.done, self.clock = done, clock
        self.candidates: dict[str, _Candidate] = {}
        self.settled: dict[str, list[int]] = {}  # done, or known to be broken, as they were then

    def look(self) -> None:
        """Lists the folder: what came, what changed, what is gone."""
        now, found = (
            self.clock(),
            {s.photograph: s for s in photographs_of(self.folder, self.names.out, self.recursive)},
        )
        for known in (self.candidates, self.settled):
            for gone in [path for path in known if path not in found]:
                del known[gone]
        for path, source in found.items():
            state = stamp(path)
            if self.settled.get(path) == state:
                continue
            if path not in self.settled and path not in self.candidates and self.done(self.names.job(source)):
                self.settled[path] = state
                continue
            self.settled.pop(path, None)
            self._wait_for(source, state, now)

    def due(self) -> list[Job]:
        """The photographs that are as they were long enough, by name."""
        now, jobs = self.clock(), []
        for path, candidate in sorted(self.candidates.items()):
            state = stamp(path)
            if not state:
                del self.candidates[path]
            elif state != candidate.stamp:
                self._wait_for(candidate.source, state, now)
            elif now >= candidate.due:
                jobs.append(self.names.job(candidate.source))
        return jobs

    def next(self) -> float | None:
        """Seconds until something may be due; None: nothing waits."""
        if not self.candidates:
            return None
        return max(0.0, min(candidate.due for candidate in self.candidates.values()) - self.clock())

    def finish(self, job: Job) -> list[int]:
        """Its result is there: the stamp of the photograph that it was made of, also where that is gone by now.

        Empty: the photograph has changed meanwhile, and comes again.
        """
        candidate = self.candidates.get(job.photograph)
        state = stamp(job.photograph)
        if candidate is None or state not in (candidate.stamp, []):
            return []
        if state:
            self.settled[job.photograph] = state
        del self.candidates[job.photograph]
        return candidate.stamp

    def fail(self, job: Job) -> bool:
        """It could not be decoded. True: it has had its time, and that is to be said."""
        candidate, now = self.candidates.get(job.photograph), self.clock()
        if candidate is None or stamp(job.photograph) != candidate.stamp:
            return False  # gone, or still being written
        candidate.failing = now if candidate.failing is None else candidate.failing
        if now - candidate.failing >= PATIENCE:
            self.settled[job.photograph] = candidate.stamp
            del self.candidates[job.photograph]
            return True
        candidate.due, candidate.pause = now + candidate.pause, 2 * candidate.pause
        return False

    def _wait_for(self, source: Source, state: list[int], now: float) -> None:
        candidate = self.candidates.get(source.photograph)
        if candidate is None or candidate.stamp != state:
            self.candidates[source.photograph] = _Candidate(source, state, now + self.settle)
