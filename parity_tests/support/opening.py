"""Artifacts opened in this process: a tenth of the time that a process of their own takes to start."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from converters.isolated import OpenPredictor, Usage
from converters.loading import format_of
from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError, U2ZooError, UsageError, one_line
from u2net_zoo.system import peak_memory

T = TypeVar("T")


class Here(OpenPredictor):
    """The artifact `path`; whatever its runtime raises is what a process of its own would have said."""

    def __init__(self, path: Path):
        start = time.perf_counter()
        fmt = format_of(path)
        fmt.require()
        self.predictor = said(lambda: fmt.run(path, exact=True))
        for name in ("size", "default", "batch", "outputs", "embedded", "precision", "takes"):
            setattr(self, name, getattr(self.predictor, name))
        self.load, self.seconds = time.perf_counter() - start, []

    @property
    def usage(self) -> Usage:
        return Usage(self.load, tuple(self.seconds), peak_memory())

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        start = time.perf_counter()
        results = said(lambda: self.predictor(x))
        self.seconds.append(time.perf_counter() - start)
        return results

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        return iter(said(lambda: list(self.predictor.taps(x, arch))))

    def close(self) -> None:
        del self.predictor


def said(call: Callable[[], T]) -> T:
    """What `call` returns, or its error as it comes over from another process."""
    try:
        return call()
    except UsageError:
        raise
    except Exception as error:  # runtimes raise anything
        raise ArtifactError(str(error) if isinstance(error, U2ZooError) else one_line(error)) from error
