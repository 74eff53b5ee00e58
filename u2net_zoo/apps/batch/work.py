"""The work on one photograph around the model: decoding and preparing before it, the result and its files after it."""

import contextlib
import errno
import io
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ...errors import ImageError, OutputError, U2ZooError, one_line
from ...files import staged, staged_in
from ...photographs import read_image
from ...session import MaskSession, Preparation
from ..base import Application
from ..saving import kept_of, png, save
from .jobs import STREAM, Job

__all__ = ["Opened", "Outcome", "Worker", "failure", "run_one"]

# Why one target cannot be written and another can: something stands there, or its name is too long. Not a full disk.
IN_THE_WAY = frozenset(
    {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}
)


@dataclass(slots=True)
class Outcome:
    """What became of one photograph; it can be pickled and, as `vars`, written as JSON.

    Attributes:
        index: which job it was.
        size: (W, H) of the upright photograph.
        seconds: from the file to the files.
        files: the results' paths by what was added to the name, the main one first.
        facts: see `Result`.
        profile: the name of the one by which it was prepared.
        error: why there is no result; empty when there is one.
    """

    index: int
    size: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    profile: str = ""
    error: str = ""


@dataclass(slots=True)
class Opened:
    """A photograph on its way through the model."""

    job: Job
    image: Image.Image  # as `Application.before` gave it
    size: tuple[int, int]
    kept: dict[str, bytes]
    start: float


class Worker:
    """Opens photographs and finishes results, in whatever process.

    Args:
        room: where files are staged; None: beside their targets.
        stream: takes the result as PNG instead of files.
    """

    def __init__(
        self,
        application: Application,
        preparation: Preparation,
        room: Path | None = None,
        stream: BinaryIO | None = None,
    ):
        self.application, self.preparation, self.room, self.stream = application, preparation, room, stream

    def open(self, job: Job) -> tuple[Opened, np.ndarray]:
        """The photograph, and what the model takes of it. Raises ImageError."""
        start = time.perf_counter()
        source = io.BytesIO(sys.stdin.buffer.read()) if job.photograph == STREAM else job.photograph
        image = read_image(source)
        kept = kept_of(image) if self.application.photographic else {}
        seen = self.application.before(image)
        return Opened(job, seen, image.size, kept, start), self.preparation.input(seen)

    def finish(self, index: int, opened: Opened, output: np.ndarray) -> Outcome:
        """Makes the result of the model's answer, (out_ch, h, w), and writes its files: all of them or none."""
        result = self.application.after(opened.image, self.preparation.mask(output, opened.image.size))
        files = self._write(opened, result.pictures)
        seconds = time.perf_counter() - opened.start
        return Outcome(index, opened.size, seconds, files, result.facts, self.preparation.profile.name)

    def _write(self, opened: Opened, pictures: dict[str, Image.Image]) -> dict[str, str]:
        job = opened.job
        if self.stream is not None:
            self.stream.write(png(next(iter(pictures.values())), opened.kept))
            return {"": STREAM}
        files = {key: job.beside("" if job.named and len(pictures) == 1 else key) for key in pictures}
        with contextlib.ExitStack() as stack:
            for key, picture in pictures.items():
                path = stack.enter_context(staged_in(self.room, files[key]) if self.room else staged(files[key]))
                beside = key and picture.mode == "L"  # a mask, whatever else there is
                save(picture, path, files[key].suffix, None if beside else opened.kept)
        return {key: str(file) for key, file in files.items()}


def run_one(session: MaskSession, application: Application, job: Job, stream: BinaryIO | None = None) -> Outcome:
    """One photograph, in this process. Raises ImageError, OutputError, and what the model raises."""
    worker = Worker(application, session.preparation, stream=stream)
    opened, tensor = worker.open(job)
    return worker.finish(0, opened, session.answer(tensor))


def failure(index: int, job: Job, error: Exception) -> Outcome:
    """The outcome of a photograph that alone is to blame; raises `error` when every other would fail as well."""
    if isinstance(error, OutputError) and getattr(error.__cause__, "errno", None) in IN_THE_WAY:
        return Outcome(index, error=str(error))
    if isinstance(error, U2ZooError) and not isinstance(error, ImageError):
        raise error
    if isinstance(error, OSError):
        raise error
    if isinstance(error, MemoryError):
        return Outcome(index, error=f"{job.photograph}: not enough memory")
    text = str(error) if isinstance(error, ImageError) else f"{job.photograph}: unexpected: {one_line(error)}"
    return Outcome(index, error=text)
