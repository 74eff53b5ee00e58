"""Artifacts run in a process of their own: a predictor that asks it, and what it took."""

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.devices import CPU
from u2net_zoo.dilation import kinds_of

from ..embedded import read_embedded
from ..loading import format_of
from ..predictor import Predictor
from .client import LIMIT, IsolatedProcess

__all__ = ["ARTIFACT", "IsolatedPredictor", "OpenPredictor", "Usage", "open_artifact", "open_isolated"]

ARTIFACT = f"{__name__}:open_artifact"


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


class IsolatedPredictor(IsolatedProcess, OpenPredictor):
    """The predictor that `opener(**arguments)` makes in a process of its own.

    Args:
        opener: `module:name` of a function of this package.
        arguments: plain values for it.
        environment, limit: see `IsolatedProcess`; the first answer includes the opening.

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
        start = time.perf_counter()
        super().__init__(str(arguments.get("path", opener)), environment=environment, limit=limit)
        try:
            found = self.ask({"open": opener, "arguments": dict(arguments)})[0]
        except BaseException:
            self.close()
            raise
        self.load = time.perf_counter() - start
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
        header, arrays = self.ask({"run": True}, {"x": x})
        self.seconds.append(header["seconds"])
        self.memory = self.memory if self.looked_into else header["memory"]
        return arrays

    def time(self, x: np.ndarray) -> float:
        """Seconds of one call whose answer stays in the process; on a GPU both tensors stay on it."""
        header, _ = self.ask({"time": True}, {"x": x})
        self.memory, self.device_memory = header["memory"], header["device_memory"]
        return header["seconds"]

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        shapes = {key: list(shape) for key, shape in arch.state_shapes().items()}
        self.looked_into = True
        _, arrays = self.ask({"taps": shapes, "blocks": kinds_of(arch), "final": arch.final}, {"x": x})
        return iter(arrays.items())


def open_isolated(path: Path, device: str = CPU, exact: bool = False) -> IsolatedPredictor:
    """The artifact or weight file `path`, run by its own runtime in a process of its own; see `Format.run`."""
    return IsolatedPredictor(ARTIFACT, {"path": str(path), "device": device, "exact": exact})


def open_artifact(path: str, device: str = CPU, exact: bool = False) -> Predictor:
    """The artifact or weight file `path` in its own runtime: what is called in the other process."""
    fmt = format_of(path)
    fmt.require_running()
    return fmt.run(Path(path), device, exact=exact)
