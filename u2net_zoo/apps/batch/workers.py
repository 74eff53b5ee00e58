"""Processes that decode photographs and encode results while the main process runs the model.

Each has one photograph at a time, so memory does not grow with their number. They load no framework: what they send is
the model's input, what they are sent is its answer.
"""

import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ...errors import OutputError, U2ZooError, one_line
from ...session import Preparation
from ...system import workers_context
from ..base import Application
from .jobs import Job

__all__ = ["Pool", "Process"]

PATIENCE = 10.0  # seconds that a worker has to remove its unfinished file when it is told to stop


class Process:
    """One worker process, the pipe to it, and the job that it has."""

    def __init__(self, application: Application, room: Path):
        context = workers_context(["u2net_zoo.apps.batch.work"])
        self.pipe, theirs = context.Pipe()
        self.job: tuple[int, Job] | None = None
        self.process = context.Process(target=_serve, args=(theirs, application, room), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, *message: Any) -> None:
        """A worker that has died meanwhile is found by `Pool.messages`."""
        try:
            self.pipe.send(message)
        except OSError:
            return

    def give(self, index: int, job: Job) -> None:
        self.job = (index, job)
        self.send("job", index, job)

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Pool:
    """Worker processes. They start at once, so that they load while the model does; `prepare` sets them to work."""

    def __init__(self, application: Application, room: Path, count: int):
        self.application, self.room = application, room
        self.preparation: Preparation | None = None
        self.workers: list[Process] = []
        for _ in range(count):
            self._start()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.terminate()  # all at once: each may take a moment to clean up
        for worker in self.workers:
            worker.stop()

    def prepare(self, preparation: Preparation) -> None:
        self.preparation = preparation
        for worker in self.workers:
            worker.send("preparation", preparation)

    def replace(self, dead: Process) -> Process:
        """A fresh worker in the place of one that has died."""
        dead.stop()
        self.workers.remove(dead)
        return self._start()

    def messages(self, also: Connection) -> Iterator[tuple[Process, tuple[Any, ...] | None]]:
        """(worker, what it sent), waiting for at least one, or for something in `also`; None: it has died."""
        pipes = {worker.pipe: worker for worker in self.workers}
        for ready in wait([*pipes, also]):
            if ready is also:
                continue
            worker = pipes[ready]  # type: ignore[index]
            try:
                yield worker, worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                yield worker, None

    def _start(self) -> Process:
        worker = Process(self.application, self.room)
        self.workers.append(worker)
        if self.preparation is not None:
            worker.send("preparation", self.preparation)
        return worker


def _serve(pipe: Connection, application: Application, room: Path) -> None:
    """A worker's life; it ends when the main process closes the pipe, however that came."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the main process too, which ends its workers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that an unfinished file is removed
    try:
        from .work import Worker

        _, preparation = pipe.recv()
        worker = Worker(application, preparation, room)
        while True:
            _, index, job = pipe.recv()
            pipe.send(_answer(pipe, worker, index, job))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # nobody is left who would wait


def _answer(pipe: Connection, worker: Any, index: int, job: Job) -> tuple[Any, ...]:
    """`("done", outcome)`, or `("stop", text, exit code)` for what would befall every photograph."""
    from .work import failure

    try:
        opened, tensor = worker.open(job)
        pipe.send(("tensor", tensor))
        _, output = pipe.recv()
        return "done", worker.finish(index, opened, output)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        try:
            return "done", failure(index, job, error)
        except U2ZooError as general:
            return "stop", str(general), general.exit_code
        except OSError as general:
            return "stop", one_line(general), OutputError.exit_code
