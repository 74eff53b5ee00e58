"""MNN files in MNN's own engine."""

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError
from u2net_zoo.streams import silent_output
from u2net_zoo.system import processors

from ..embedded import read_embedded, read_precision, read_takes
from ..mask_errors import GREY_LEVEL
from ..predictor import Predictor
from . import mnn_shapes
from .layout import NCHW, check_input
from .mnn_metadata import KERNELS, PLAIN

__all__ = ["MNNRuntime", "open_plain", "threads"]

LOADING = threading.Lock()
WINOGRAD = 3  # `WINOGRAD_MEMORY_LEVEL` of the engine's hints; at 0 every convolution is a plain sum of products


class MNNRuntime(Predictor):
    """An MNN file in MNN, on the processor, in float32.

    Args:
        exact: without Winograd's convolution, which is quicker and costs digits: 1.7e-4 on u2net_nano's mask where
            the plain one stays within Torch's own noise, 1.1e-6 (2026-11-26).
    """

    concurrent = True  # a call takes a session of its own, or waits for one

    def __init__(self, path: Path, exact: bool = False):
        model = mnn_shapes.checked(path)
        words = model.words
        exact = exact or words.get(KERNELS) == PLAIN
        self.path, self.exact = path, exact
        self.computes = "" if exact else GREY_LEVEL
        self.embedded, self.precision, self.stated = read_embedded(words), read_precision(words), read_takes(words)
        self.batch, self.size = NCHW.sizes(model.shape, path)
        self.outputs = model.outputs
        self.activations = model.activations
        self.sessions: queue.SimpleQueue[_Session] = queue.SimpleQueue()
        self.sessions.put(_Session(path, exact, threads()))

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        session = self.sessions.get()
        try:
            return session.run(x, self.outputs)
        finally:
            self.sessions.put(session)

    def share(self, lanes: int) -> int:
        """A session for each call, on its part of the processors."""
        each = max(1, threads() // lanes)
        sessions = [_Session(self.path, self.exact, each) for _ in range(lanes)]
        self.sessions = queue.SimpleQueue()
        for session in sessions:
            self.sessions.put(session)
        return lanes

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which the units run, each behind its ReLU."""
        names = self.activations()
        session = _Session(self.path, self.exact, threads(), keep=names)
        session.run(x, ())
        pairs = zip(arch.units(), names, strict=False)
        return iter([(unit.path, session.unpacked(name)) for unit, name in pairs])


def open_plain(path: str) -> Predictor:
    """The row of `bench` without fast kernels."""
    return MNNRuntime(Path(path), exact=True)


def threads() -> int:
    """Of one call: the processors, or fewer where `OMP_NUM_THREADS` says so, as Torch takes it.

    The engine's threads wait for each other after every operation by giving up their turn. Where other programs take
    it, two of them are slower than one: 24 ms against 38 on an idle machine, 1.3 s against 0.13 on one with six busy
    programs on two processors (u2net_nano, 2026-11-26).
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(processors(), max(1, int(said))) if said.isascii() and said.isdecimal() else processors()


def silent_mnn() -> ModuleType:
    """The package. Its import prints a line on the processor, which would stand in JSON or in a picture on stdout."""
    with LOADING, silent_output():
        import MNN
    return MNN


class _Session:
    """The engine's interpreter with one session in it: two sessions of one interpreter wait for each other."""

    def __init__(self, path: Path, exact: bool, threads: int, keep: tuple[str, ...] = ()):
        self.engine = mnn = silent_mnn()
        self.interpreter = mnn.Interpreter(str(path))
        if exact:
            self.interpreter.setSessionHint(WINOGRAD, 0)
        # `high` is the same float32 on a processor, and tells so on standard output.
        config: dict[str, Any] = {"backend": "CPU", "precision": "normal", "numThread": threads}
        self.session = self.interpreter.createSession(config | ({"saveTensors": keep} if keep else {}))
        self.input = self.interpreter.getSessionInput(self.session)

    def run(self, x: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        if tuple(self.input.getShape()) != x.shape:
            self.interpreter.resizeTensor(self.input, x.shape)
            self.interpreter.resizeSession(self.session)
        np.copyto(self.input.getNumpyData(), x)  # the engine's own memory, which it uses for other things then
        if self.interpreter.runSession(self.session):
            raise ArtifactError("MNN cannot run it")
        return {name: np.array(self.interpreter.getSessionOutput(self.session, name).getNumpyData()) for name in names}

    def unpacked(self, name: str) -> np.ndarray:
        """A kept tensor (N, C, H, W); inside, several channels of a pixel stand together."""
        tensor, caffe = self.interpreter.getSessionOutput(self.session, name), self.engine.Tensor_DimensionType_Caffe
        shape = tuple(tensor.getShape())
        plain = self.engine.Tensor(shape, self.engine.Halide_Type_Float, np.zeros(shape, np.float32), caffe)
        tensor.copyToHostTensor(plain)
        return np.array(plain.getNumpyData())
