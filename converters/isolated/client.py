"""This side of an isolated process: a predictor that asks it, and what it took."""

import os
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.dilation import kinds_of
from u2net_zoo.errors import ArtifactError, UsageError

from ..embedded import read_embedded
from ..predictor import Predictor
from .protocol import GONE, receive, send
from .starting import last_words, start

__all__ = ["ARTIFACT", "LIMIT", "IsolatedPredictor", "OpenPredictor", "Usage", "open_isolated"]

WORKER = "converters.isolated.worker"
ARTIFACT = f"{WORKER}:open_artifact"
LIMIT = 600.0  # seconds for one answer; compiling a network for the first time is the slowest


@dataclass(frozen=True)
class Usage:
    """What a runtime took.

    Attributes:
        load: seconds from the process's start until the model was ready, imports included.
        seconds: of each call, without the way to the process and back.
        memory: bytes, the largest resident size of the process so far.
    """

    load: float
    seconds: tuple[float, ...]
    memory: int


class OpenPredictor(Predictor):
    """A predictor that is open until it is closed, and knows what it took so far."""

    @property
    @abstractmethod
    def usage(self) -> Usage: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class IsolatedPredictor(OpenPredictor):
    """The predictor that `opener(**arguments)` makes in a process of its own.

    Args:
        opener: `module:name` of a function of this package.
        arguments: plain values for it.
        environment: variables of the process beside this one's own.
        limit: seconds for each answer, the first one included; the process is stopped then.

    Raises:
        ArtifactError, UsageError: as the opener raises them, or the process ended or was stopped.
    """

    def __init__(
        self,
        opener: str,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
    ):
        self.limit = limit
        self.what = str(arguments.get("path", opener))
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the predictor
        begun = time.perf_counter()
        self._start({**os.environ, **_quiet(), **(environment or {})})
        try:
            found = self._ask({"open": opener, "arguments": dict(arguments)})[0]
        except BaseException:
            self.close()
            raise
        self.load = time.perf_counter() - begun
        self.size = tuple(found["size"]) if found["size"] else None
        self.default = tuple(found["default"]) if found["default"] else None
        self.batch, self.multiple = found["batch"], found["multiple"]
        self.outputs = tuple(found["outputs"])
        self.embedded, self.precision = read_embedded(found["embedded"]), found["precision"]
        self.takes = found["takes"]
        self.facts = found["facts"]
        self.seconds: list[float] = []
        self.looked_into = False  # its peak memory is then no longer that of running it
        self.memory = int(found["memory"])
        self.device_memory: int | None = None  # bytes on a GPU, of predictors that know them

    @property
    def usage(self) -> Usage:
        return Usage(self.load, tuple(self.seconds), self.memory)

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        header, arrays = self._ask({"run": True}, {"x": x})
        self.seconds.append(header["seconds"])
        self.memory = self.memory if self.looked_into else header["memory"]
        return arrays

    def time(self, x: np.ndarray) -> float:
        """Seconds of one call whose answer stays in the process; on a GPU both tensors stay on it."""
        header, _ = self._ask({"time": True}, {"x": x})
        self.memory, self.device_memory = header["memory"], header["device_memory"]
        return header["seconds"]

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        shapes = {key: list(shape) for key, shape in arch.state_shapes().items()}
        self.looked_into = True
        _, arrays = self._ask({"taps": shapes, "blocks": kinds_of(arch), "final": arch.final}, {"x": x})
        return iter(arrays.items())

    def close(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.log.close()

    def __del__(self) -> None:
        if hasattr(self, "connection") and self.process.returncode is None:
            self.close()

    def _start(self, environment: Mapping[str, str]) -> None:
        try:
            self.process, self.connection = start(WORKER, self.log, environment, self.limit)
        except (EOFError, TimeoutError) as error:
            self.log.close()
            raise self._ended(str(error)) if isinstance(error, EOFError) else self._silent() from None

    def _ask(
        self, request: dict[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        with self.turn:
            header, results = self._exchange(request, arrays or {})
        if "error" in header:
            raise (UsageError if header["usage"] else ArtifactError)(header["error"])
        return header, results

    def _exchange(
        self, request: dict[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            send(self.connection, request, arrays)
            if not self.connection.poll(self.limit):
                self.close()
                raise self._silent()
            return receive(self.connection)
        except GONE:
            raise self._ended(last_words(self.process, self.log)) from None

    def _ended(self, how: str) -> ArtifactError:
        return ArtifactError(f"{self.what}: its runtime's process ended: {how}")

    def _silent(self) -> ArtifactError:
        return ArtifactError(f"{self.what}: no answer within {self.limit:g} s; its runtime was stopped")


def open_isolated(path: Path) -> IsolatedPredictor:
    """The artifact or weight file `path`, run by its own runtime in a process of its own."""
    return IsolatedPredictor(ARTIFACT, {"path": str(path)})


def _quiet() -> dict[str, str]:
    """The environment of a child: this process's modules, frameworks that keep their advice to themselves."""
    modules = os.pathsep.join(entry for entry in sys.path if entry)
    return {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": modules, "PYTHONIOENCODING": "utf-8"}
