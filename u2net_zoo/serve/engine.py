"""Photographs take turns: a bounded queue, a few that are decoded at once, and lanes in which the models run."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from PIL import Image

from ..apps import Application, Result
from ..apps.batch.local import lanes
from ..apps.optional import COMPILING
from ..apps.saving import kept_of, png
from ..errors import ArtifactError, MissingExtraError, U2ZooError
from ..session import MaskSession
from ..system import scratch_folder
from .decoding import SPEED, decode
from .limits import DECODING, Limits, RefusalError
from .query import chosen

__all__ = ["Answer", "Engine", "Job"]

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One request: which application with which options, on which photograph.

    Attributes:
        files: what came beside the photograph, by the option that it is.
        gone: whether its client has hung up.
        picture: which of the result's pictures is wanted; None: the facts alone.
    """

    kind: type[Application]
    query: list[tuple[str, str]]
    image: IO[bytes]
    files: dict[str, IO[bytes]]
    gone: Callable[[], Awaitable[bool]]
    picture: str | None = ""


@dataclass(frozen=True)
class _Original:
    """What is still known of a photograph when an application has cut or replaced it.

    Attributes:
        begun: when work on it began, of `time.perf_counter`.
        size: (W, H), upright.
        kept: see `kept_of`; None: the application's pictures do not show the photograph.
    """

    begun: float
    size: tuple[int, int]
    kept: dict[str, bytes] | None


@dataclass(frozen=True)
class Answer:
    """The PNG file that was asked for, and what there is to say; `png` is None where only facts were wanted."""

    png: bytes | None
    facts: dict[str, Any]


class Engine:
    """Runs jobs within limits.

    Args:
        session: the session of an application's weights; called in one thread, raises U2ZooError.
    """

    def __init__(self, session: Callable[[type[Application]], MaskSession], limits: Limits):
        self.session, self.limits = session, limits
        self.helpers = ThreadPoolExecutor(DECODING, thread_name_prefix="decode")
        self.opening = ThreadPoolExecutor(1, thread_name_prefix="opening")
        self.lanes = ThreadPoolExecutor(lanes(), thread_name_prefix="lane")
        self.turns = asyncio.Semaphore(DECODING)
        self.inside = 0  # jobs that wait or run

    def check_room(self) -> None:
        """Raises RefusalError: 503, the queue is full."""
        if self.inside >= self.limits.queue:
            raise RefusalError(503, f"the queue is full ({self.inside} photographs); try again in a moment", again=2)

    async def run(self, job: Job) -> Answer:
        """The job's answer.

        Raises:
            RefusalError: 503 no room, or no turn in time; 504 not finished in time; 4xx what is wrong with the request.
        """
        self.check_room()
        started = asyncio.Event()
        task = asyncio.create_task(self._turn(job, started))
        self.inside += 1
        task.add_done_callback(self._leave)
        try:
            async with asyncio.timeout(self.limits.timeout):
                await started.wait()
        except TimeoutError:
            task.cancel()
            raise RefusalError(503, f"no turn within {self.limits.timeout:g} s; try again later", again=5) from None
        # The clock starts anew with the turn: what waited for long would else be worked on for nobody.
        done, _ = await asyncio.wait({task}, timeout=self.limits.timeout)
        if not done:  # its thread cannot be stopped, so it keeps its place until that ends
            raise self._timeout_refusal()
        return task.result()

    def close(self) -> None:
        for pool in (self.helpers, self.opening, self.lanes):
            pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self, task: "asyncio.Task[Answer]") -> None:
        self.inside -= 1
        if not task.cancelled():
            task.exception()  # seen: the one who waited may have gone

    def _timeout_refusal(self) -> RefusalError:
        late = f"not finished within {self.limits.timeout:g} s"
        if COMPILING:
            names = ", ".join(COMPILING)
            return RefusalError(
                504, f"{late}: {names} is being compiled, once on a machine; try again in a minute", again=60
            )
        return RefusalError(504, f"{late}; try again, or send a smaller photograph")

    async def _turn(self, job: Job, started: asyncio.Event) -> Answer:
        async with self.turns:
            started.set()
            if await job.gone():
                raise RefusalError(400, "the client closed the connection")
            begun = time.perf_counter()
            step = self._steps(begun + self.limits.timeout)
            image = await step(self.helpers, decode, job.image, self.limits)
            original = _Original(begun, image.size, kept_of(image) if job.kind.photographic else None)
            with scratch_folder() as folder:
                application = await step(self.helpers, _make_application, job, Path(folder), self.limits)
                image = await step(self.helpers, _prepare, application, image)
                session = await step(self.opening, self.session, job.kind)
                x = await step(self.helpers, session.preparation.input, image)
                output = await step(self.lanes, session.answer, x)
                del x
                return await step(self.helpers, _finish, job, application, session, image, output, original)

    def _steps(self, end: float) -> Callable[..., Awaitable[Any]]:
        """Runs a function in a pool's thread; after `end` none is begun any more, for nobody waits for it."""

        async def step(pool: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
            def in_time() -> T:
                if time.perf_counter() > end:
                    raise self._timeout_refusal()
                return function(*arguments)

            return await asyncio.get_running_loop().run_in_executor(pool, in_time)

        return step


def _make_application(job: Job, folder: Path, limits: Limits) -> Application:
    """The application; files of the form are decoded within the same limits and stand in `folder` while it runs."""
    paths = {}
    for number, (name, file) in enumerate(job.files.items()):
        paths[name] = folder / f"{number}.png"
        paths[name].write_bytes(png(decode(file, limits), compress_level=SPEED))
    return chosen(job.kind, job.query, paths)


def _prepare(application: Application, image: Image.Image) -> Image.Image:
    return _answer_refusals(application, lambda: application.before(image))


def _finish(
    job: Job, application: Application, session: MaskSession, image: Image.Image, output: Any, original: _Original
) -> Answer:
    mask = _answer_refusals(application, lambda: session.preparation.mask(output, image.size))
    result: Result = _answer_refusals(application, lambda: application.after(image, mask))
    facts = {
        "application": job.kind.name,
        "profile": session.profile.name,
        "size": list(original.size),
        "pictures": list(result.pictures),
        "facts": result.facts,
        "seconds": round(time.perf_counter() - original.begun, 3),
    }
    if job.picture is None or (not result.pictures and not job.picture):
        return Answer(None, facts)
    if job.picture not in result.pictures:
        raise RefusalError(422, f"no picture {job.picture[:40]!r}; pictures: {', '.join(map(repr, result.pictures))}")
    picture = result.pictures[job.picture]
    beside = job.picture and picture.mode == "L"  # a mask, whatever else there is
    return Answer(png(picture, None if beside else original.kept, compress_level=SPEED), facts)


def _answer_refusals(application: Application, function: Callable[[], T]) -> T:
    """What an application refuses is the request's fault; what it lacks, and a model that is none for it, is not."""
    try:
        return function()
    except RefusalError:
        raise
    except MissingExtraError as error:
        lacks = f"{application.name}: {error.what} needs the package {error.package!r}, which this server does not have"
        raise RefusalError(503, lacks) from None
    except ArtifactError as error:
        raise RefusalError(503, f"{application.name}: {error}") from None
    except U2ZooError as error:
        raise RefusalError(422, str(error)) from None
