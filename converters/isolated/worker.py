"""The other end of `isolated`: a process that opens one predictor, or calls functions, until its connection closes."""

import functools
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import U2ZooError, UsageError, one_line
from u2net_zoo.identify import identify
from u2net_zoo.system import peak_memory

from .protocol import GONE, receive, send
from .starting import connect

if TYPE_CHECKING:  # a tool's Python has what the tool needs, and NumPy
    from ..predictor import Predictor

__all__ = ["Server"]

OURS = "converters."  # where an opener's module has to stand: no other package is imported


class Server:
    """The child's side: opens one predictor, or calls functions, and answers until the other end closes."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self.predictor: Predictor | None = None
        self.timed: Any = None

    def serve(self) -> None:
        while True:
            try:
                request, arrays = receive(self.connection)
            except GONE:
                return
            try:
                header, results = self._answer(request, arrays)
            except Exception as error:  # runtimes raise anything
                text = str(error) if isinstance(error, U2ZooError) else one_line(error)
                header, results = {"error": text, "usage": isinstance(error, UsageError)}, {}
            memory = {"memory": peak_memory(), "device_memory": getattr(self.predictor, "device_memory", None)}
            send(self.connection, {**header, **memory}, results)

    def _answer(
        self, request: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
        if "call" in request:
            return {"answer": _function(request["call"])(**request["arguments"])}, {}
        if "open" in request:
            return self._open(request["open"], request["arguments"]), {}
        if self.predictor is None:
            raise UsageError("nothing was opened")
        if "taps" in request:
            shapes = {key: tuple(shape) for key, shape in request["taps"].items()}
            arch = Checkpoint(identify(shapes, blocks=request["blocks"]), {}).with_final(request["final"]).arch
            return {}, dict(self.predictor.taps(arrays["x"], arch))
        if "time" in request:
            return {"seconds": self._time(self.predictor, arrays["x"])}, {}
        start = time.perf_counter()
        results = self.predictor(arrays["x"])
        return {"seconds": time.perf_counter() - start}, results

    def _time(self, predictor: "Predictor", x: np.ndarray) -> float:
        if self.timed is None:
            timed = getattr(predictor, "timed", None)
            self.timed = timed(x) if timed else functools.partial(predictor, x)
        start = time.perf_counter()
        self.timed()
        return time.perf_counter() - start

    def _open(self, opener: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.predictor = p = _function(opener)(**arguments)
        embedded = p.embedded.to_metadata() if p.embedded else {}
        facts = getattr(p, "facts", {})
        return {
            "size": p.size,
            "default": p.default,
            "batch": p.batch,
            "multiple": p.multiple,
            "outputs": p.outputs,
            "embedded": embedded,
            "precision": p.precision,
            "takes": p.takes,
            "facts": facts,
        }


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    if not module.startswith(OURS):
        raise UsageError(f"opener {place!r}: a function of this package is needed, {OURS}MODULE:NAME")
    return getattr(import_module(module), name)


if __name__ == "__main__":
    Server(connect(sys.argv[1:])).serve()
