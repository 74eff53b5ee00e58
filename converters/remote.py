"""A predictor in a process of its own: frameworks do not meet, a crash is an error, seconds and memory are its own.

The two processes talk over a socket in JSON headers and raw arrays; nothing is unpickled. The child is started as
`python -P -m converters.remote FD`, so that it imports nothing out of the current folder, and opens what it is told to:
`OPENERS` names the functions that may be asked for.
"""

import contextlib
import functools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint, identify
from u2net_zoo.errors import ArtifactError, U2ZooError, UsageError, one_line

from .baking import read_baking
from .base import Predictor

__all__ = ["LIMIT", "RemotePredictor", "Usage", "open_remote"]

OPENERS = {
    "artifact": "converters.remote:_open_artifact",
    "torch": "converters.bench.torch_variants:TorchVariant",
    "keras": "converters.bench.keras_variants:KerasVariant",
    "onnxruntime": "converters.bench.onnx_variants:OnnxVariant",
    "openvino": "converters.bench.openvino_variants:OpenVINOVariant",
}
LIMIT = 600.0  # seconds for one answer; compiling a network for the first time is the slowest
GONE = (EOFError, ConnectionError, BrokenPipeError)


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


class RemotePredictor(Predictor):
    """The predictor that `opener(**arguments)` makes in a process of its own.

    Args:
        opener: a name in `OPENERS`.
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
        start = time.perf_counter()
        here, there = socket.socketpair()
        with there:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "converters.remote", str(there.fileno())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                env={**os.environ, **_quiet(), **(environment or {})},
            )
        self.connection = Connection(here.detach())
        try:
            found = self._ask({"open": opener, "arguments": dict(arguments)})[0]
        except BaseException:
            self.close()
            raise
        self.load = time.perf_counter() - start
        self.size = tuple(found["size"]) if found["size"] else None
        self.default = tuple(found["default"]) if found["default"] else None
        self.batch = found["batch"]
        self.outputs = tuple(found["outputs"])
        self.baking, self.precision = read_baking(found["baking"]), found["precision"]
        self.facts = found["facts"]
        self.seconds: list[float] = []
        self.looked_into = False  # its peak memory is then no longer that of running it
        self.memory = int(found["memory"])
        self.device_memory: int | None = None  # bytes on a GPU, of predictors that know them

    @property
    def usage(self) -> Usage:
        return Usage(self.load, tuple(self.seconds), self.memory)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
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
        _, arrays = self._ask({"taps": shapes, "final": arch.final}, {"x": x})
        return iter(arrays.items())

    def close(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.log.close()

    def __enter__(self) -> "RemotePredictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "connection") and self.process.returncode is None:
            self.close()

    def _ask(
        self, request: dict[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            _send(self.connection, request, arrays or {})
            if not self.connection.poll(self.limit):
                self.close()
                raise ArtifactError(f"{self.what}: no answer within {self.limit:g} s; its runtime was stopped")
            header, results = _receive(self.connection)
        except GONE:
            raise ArtifactError(f"{self.what}: its runtime's process ended: {self._end()}") from None
        if "error" in header:
            raise (UsageError if header["usage"] else ArtifactError)(header["error"])
        return header, results

    def _end(self) -> str:
        """How the process ended, and the last line that it wrote."""
        code = self.process.wait()
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"{how}; {lines[-1][:200]}" if lines else how


def open_remote(path: Path) -> RemotePredictor:
    """The artifact or weight file `path`, run by its own runtime in a process of its own."""
    return RemotePredictor("artifact", {"path": str(path)})


def _open_artifact(path: str) -> Predictor:
    from .sources import format_of

    fmt = format_of(path)
    fmt.require()
    return fmt.run(Path(path))


def _quiet() -> dict[str, str]:
    """The environment of a child: this process's modules, frameworks that keep their advice to themselves."""
    return {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def _send(connection: Connection, header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    listed = [[name, array.dtype.str, array.shape] for name, array in whole.items()]
    connection.send_bytes(json.dumps({**header, "arrays": listed}).encode())
    for array in whole.values():
        connection.send_bytes(array.tobytes())


def _receive(connection: Connection) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header = json.loads(connection.recv_bytes())
    arrays = {
        name: np.frombuffer(connection.recv_bytes(), np.dtype(dtype)).reshape(shape).copy()
        for name, dtype, shape in header.pop("arrays")
    }
    return header, arrays


def peak_memory() -> int:
    """Largest resident size of this process in bytes; on Linux without what its parent had when it forked."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class _Server:
    """The child's side: opens one predictor and answers until the other end closes."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self.predictor: Predictor | None = None
        self.timed: Any = None

    def serve(self) -> None:
        while True:
            try:
                request, arrays = _receive(self.connection)
            except GONE:
                return
            try:
                header, results = self._answer(request, arrays)
            except Exception as error:  # runtimes raise anything
                text = str(error) if isinstance(error, U2ZooError) else one_line(error)
                header, results = {"error": text, "usage": isinstance(error, UsageError)}, {}
            memory = {"memory": peak_memory(), "device_memory": getattr(self.predictor, "device_memory", None)}
            _send(self.connection, {**header, **memory}, results)

    def _answer(
        self, request: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
        if "open" in request:
            return self._open(request["open"], request["arguments"]), {}
        if self.predictor is None:
            raise UsageError("nothing was opened")
        if "taps" in request:
            shapes = {key: tuple(shape) for key, shape in request["taps"].items()}
            arch = Checkpoint(identify(shapes), {}).with_final(request["final"]).arch
            return {}, dict(self.predictor.taps(arrays["x"], arch))
        if "time" in request:
            return {"seconds": self._time(self.predictor, arrays["x"])}, {}
        start = time.perf_counter()
        results = self.predictor(arrays["x"])
        return {"seconds": time.perf_counter() - start}, results

    def _time(self, predictor: Predictor, x: np.ndarray) -> float:
        if self.timed is None:
            timed = getattr(predictor, "timed", None)
            self.timed = timed(x) if timed else functools.partial(predictor, x)
        start = time.perf_counter()
        self.timed()
        return time.perf_counter() - start

    def _open(self, opener: str, arguments: dict[str, Any]) -> dict[str, Any]:
        module, function = OPENERS[opener].split(":")
        self.predictor = getattr(import_module(module), function)(**arguments)
        p = self.predictor
        baked = p.baking.to_metadata() if p.baking else {}
        facts = getattr(p, "facts", {})
        return {
            "size": p.size,
            "default": p.default,
            "batch": p.batch,
            "outputs": p.outputs,
            "baking": baked,
            "precision": p.precision,
            "facts": facts,
        }


if __name__ == "__main__":
    _Server(Connection(int(sys.argv[1]))).serve()
