"""An application over many photographs on a Ray cluster, through Ray Data.

The model runs in actors, as many as `--workers` says; each does whole photographs, with the same code as the local
engine, and writes their files itself. So a real cluster needs the photographs, the model and the folder of the results
at the same paths on every node.
"""

import json
import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from ...errors import MissingExtraError, U2ZooError, one_line
from ...session import MaskSession
from ..base import Application
from .jobs import Job
from .work import Outcome, Worker, failure

__all__ = ["run"]

STORE = 128 << 20  # bytes of the local object store; only paths and facts pass through it
BLOCK = 16  # photographs that are handed to an actor at once, at most
STOP = "stop: "  # starts the error of what would befall every photograph


def run(
    opened: Callable[[], MaskSession],
    application: Application,
    jobs: Sequence[tuple[int, Job]],
    room: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
) -> Generator[Outcome, None, None]:
    """As `local.run`, with `workers` actors (2 by default) on the cluster at `address`; None: one that is started here.

    A killed actor is restarted, and its photographs are done again; one that kills its actor twice, is alone then, and
    kills it again, is counted as an error.

    Raises:
        MissingExtraError: Ray is not installed. U2ZooError: the cluster cannot be reached, or as `local.run`.
    """
    if not jobs:
        return
    actors = min(len(jobs), workers or 2)
    with _Cluster(address, actors):
        waiting = dict(jobs)
        for each in (BLOCK, 1):  # what its neighbours' killer took along is done alone
            per_block = max(1, min(each, len(waiting) // (4 * actors)))
            for outcome in _run_jobs(opened, application, list(waiting.items()), room.absolute(), actors, per_block):
                del waiting[outcome.index]
                yield outcome
            if not waiting:
                return
        for index, job in waiting.items():
            yield Outcome(index, error=f"{job.photograph}: the process that worked on it died, again and again")


class _Cluster:
    """A connection to Ray, or a Ray of our own that ends with the block."""

    def __init__(self, address: str | None, actors: int):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
            import ray.data
        except ModuleNotFoundError as error:
            raise MissingExtraError("--engine ray", error.name or "ray", "ray") from None
        self.ray, self.address, self.actors = ray, address, actors

    def __enter__(self) -> None:
        local = {"num_cpus": self.actors, "include_dashboard": False, "object_store_memory": STORE}
        where: dict[str, Any] = {"address": self.address} if self.address else {"address": "local", **local}
        try:
            self.ray.init(**where, logging_level=logging.ERROR, log_to_driver=False, configure_logging=False)
        except Exception as error:
            place = self.address or "this machine"
            raise U2ZooError(f"Ray on {place}: cannot be reached or started ({one_line(error)})") from error
        context = self.ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # what is missing afterwards is done again

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()


def _with_whole_paths(job: Job) -> Job:
    """With whole paths: a cluster's workers stand in folders of their own."""
    return replace(job, photograph=os.path.abspath(job.photograph), target=os.path.abspath(job.target))


def _with_typed_paths(outcome: Outcome, job: Job) -> Outcome:
    """An outcome of `_with_whole_paths(job)` with the paths that `job` has."""
    folder = os.path.dirname(job.target)
    files = {key: os.path.join(folder, os.path.basename(file)) for key, file in outcome.files.items()}
    error = outcome.error.replace(os.path.abspath(job.photograph), job.photograph)
    return replace(outcome, size=(outcome.size[0], outcome.size[1]), files=files, error=error)


def _run_jobs(
    opened: Callable[[], MaskSession],
    application: Application,
    jobs: list[tuple[int, Job]],
    room: Path,
    actors: int,
    per_block: int,
) -> Iterator[Outcome]:
    """Outcomes of the jobs, but of those whose actor died too often."""
    import ray.data

    application = replace(application, **{name: os.path.abspath(file) for name, file in application.files().items()})
    placed = dict(jobs)
    rows = [{"index": index, "job": json.dumps(asdict(_with_whole_paths(job)))} for index, job in jobs]
    done = ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // per_block)).map(
        cast(Any, _Actor),  # Ray Data's types know functions only
        fn_constructor_args=(opened, application, str(room)),
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
        num_cpus=1,
        max_restarts=-1,
        max_task_retries=1,
    )
    for row in done.iter_rows():
        outcome = Outcome(**json.loads(row["outcome"]))
        if outcome.error.startswith(STOP):
            raise U2ZooError(outcome.error.removeprefix(STOP))
        yield _with_typed_paths(outcome, placed[outcome.index])


class _Actor:
    """The model on some node, and the whole work on each photograph."""

    def __init__(self, opened: Callable[[], MaskSession], application: Application, room: str):
        self.session = opened()
        self.worker = Worker(application, self.session.preparation, Path(room))

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        index, job = int(row["index"]), Job(**json.loads(row["job"]))
        return {"outcome": json.dumps(asdict(self._outcome(index, job)))}

    def _outcome(self, index: int, job: Job) -> Outcome:
        try:
            opened, tensor = self.worker.open(job)
            return self.worker.finish(index, opened, self.session.answer(tensor))
        except Exception as error:
            try:
                return failure(index, job, error)
            except Exception as general:
                return Outcome(index, error=STOP + str(general))
