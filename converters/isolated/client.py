"""This side of an isolated process: it is started, asked and ended."""

import os
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from u2net_zoo.errors import ArtifactError, UsageError

from .protocol import GONE, receive, send
from .starting import last_words, start

__all__ = ["BOOTSTRAP", "LIMIT", "WORKER", "IsolatedProcess"]

LIMIT = 600.0  # seconds for one answer; compiling a network for the first time is the slowest
WORKER = "converters.isolated.worker"
OWN = (sys.executable, "-P", "-m", WORKER)
BOOTSTRAP = Path(__file__).with_name("bootstrap.py")  # runs the worker under another Python


class IsolatedProcess:
    """A process of this package that answers requests until it is closed.

    Args:
        what: it is for, at the head of messages.
        command: the words that start its worker; where a child inherits descriptors, one is put behind them.
        environment: variables of the process beside this one's own.
        limit: seconds for each answer; the process is stopped then.

    Raises:
        ArtifactError, UsageError: as what is called raises them, or the process ended or was stopped.
    """

    def __init__(
        self,
        what: str,
        command: Sequence[str] = OWN,
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
    ):
        self.what, self.limit = what, limit
        self.asking = threading.RLock()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._start(command, {**os.environ, **_quiet(), **(environment or {})})

    def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """What `function(**arguments)` returns, `module:name` of this package; plain values both ways."""
        return self.ask({"call": function, "arguments": dict(arguments)})[0]["answer"]

    def ask(
        self, request: dict[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The answer to a request that the worker knows, header and arrays."""
        with self.asking:
            header, results = self._exchange(request, arrays or {})
        if "error" in header:
            raise (UsageError if header["usage"] else ArtifactError)(header["error"])
        return header, results

    def close(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "connection") and self.process.returncode is None:
            self.close()

    def _start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            self.process, self.connection = start(command, self.log, environment, self.limit)
        except OSError as error:
            self.log.close()
            if isinstance(error, TimeoutError):
                raise self._silent() from None
            raise ArtifactError(f"{self.what}: its process cannot be started: {error}") from None
        except EOFError as error:
            self.log.close()
            raise self._ended(str(error)) from None

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


def _quiet() -> dict[str, str]:
    """The environment of a child: this process's modules, frameworks that keep their advice to themselves."""
    modules = os.pathsep.join(entry for entry in sys.path if entry)
    return {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": modules, "PYTHONIOENCODING": "utf-8"}
