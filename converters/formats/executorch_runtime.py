"""ExecuTorch's programs in its own runtime, on the processor."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError, CheckpointError, one_line

from ..embedded import read_precision, read_takes
from ..predictor import Predictor
from .executorch_library import LoadedMethod, loaded
from .executorch_program import XNNPACK, Parsed, Step, parsed_program
from .executorch_reader import DAMAGE, delegate_graph, graph_of
from .executorch_schema import Kind, Scalar, Tensor
from .executorch_writing import program_bytes
from .layout import NCHW, Layout, check_input
from .weight_graph import Graph
from .xnnpack_parsing import parsed_payload
from .xnnpack_payload import Payload
from .xnnpack_shapes import check_shapes, float_values

__all__ = ["OUTPUTS", "ExecuTorchRuntime"]

OUTPUTS = "u2zoo.outputs"  # of the words that a file says of itself: names, which the format has no place for
TRIAL = 120  # seconds


class ExecuTorchRuntime(Predictor):
    """A `.pte` file. Of kernels that it calls outside of XNNPACK a process of its own makes sure first: damage there
    ends a process."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.program = parsed_program(path)
            self.payload = _checked(self.program)
        except CheckpointError as error:
            raise ArtifactError(f"{path}: {error}") from None
        except DAMAGE as error:
            raise ArtifactError(f"{path}: damaged .pte ({one_line(error)})") from None
        method = self.program.method
        data = _data_of(self.program)
        if self.payload is None:
            _try_elsewhere(path, data)
        self.method = LoadedMethod(self.program.content, method.name, data)
        words = self.program.words
        self.precision, self.stated = read_precision(words), read_takes(words)
        shape = method.shape(method.inputs[0])
        self.layout = Layout.of(shape, NCHW)
        self.batch, self.size = self.layout.sizes(shape, path)
        self.channels = self.layout.channels(shape)
        said = tuple(words.get(OUTPUTS, "").split())
        count = len(method.outputs)
        self.outputs = said if len(said) == count else tuple(f"output{n}" for n in range(count))

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        answers = self.method(self.layout.given(x))
        return {name: self.layout.answered(answer) for name, answer in zip(self.outputs, answers, strict=True)}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which the units run, each behind its ReLU: from a copy of the program that
        answers these as well. None where it is not one graph in float32."""
        payload = self.payload
        if payload is None or not float_values(payload):
            return
        ids = _activations(payload)
        content = program_bytes(payload.answering(tuple(n for n in ids if n not in payload.externals)))
        method = loaded(content)
        asked = [n for n in ids if n not in payload.externals]
        answers = dict(zip(asked, method(self.layout.given(x))[len(self.outputs) :], strict=True))
        for unit, n in zip(arch.units(), ids, strict=False):
            if n in answers:
                yield unit.path, np.ascontiguousarray(answers[n].transpose(0, 3, 1, 2))


def _data_of(program: Parsed) -> Path | None:
    """The file that holds data for the program, which a walk through its graph has asked for."""
    with contextlib.suppress(CheckpointError, *DAMAGE):  # of a file whose weights are not read, which may run
        graph_of(program)
    return next(iter(program.named.used), None)


def _activations(payload: Payload) -> list[int]:
    """Ids of the values that are the units' activations, in order."""
    graph = Graph(list(delegate_graph(payload, {}, "")), [str(n) for n in payload.externals[payload.taken :]])
    return [int(name.removesuffix(".bounded")) for name in graph.activations()]


def _checked(program: Parsed) -> Payload | None:
    """The graph of a program that is one delegate of XNNPACK, after a look at every number of it; None of others.

    Raises:
        CheckpointError, ValueError: it takes what no U²-Net takes, or does not fit together.
    """
    method = program.method
    if len(method.inputs) != 1:
        raise CheckpointError(f"has {len(method.inputs)} inputs; a U²-Net has one")
    for n in (*method.inputs, *method.outputs):
        if method.table(n, Kind.Tensor).byte(Tensor.scalar) != Scalar.float:
            raise CheckpointError("takes or answers another type than float32")
    delegated = [_payload(program, step) for step in method.steps if step.data is not None]
    if len(delegated) != 1 or len(method.steps) != 1 or delegated[0] is None:
        return None
    payload, arguments = delegated[0], method.steps[0].arguments
    if len(arguments) != len(payload.externals):
        raise ValueError(f"{len(arguments)} arguments for a graph of {len(payload.externals)}")
    if list(arguments) != [*method.inputs, *method.outputs]:
        raise ValueError("the graph is not called with what the program takes and answers")
    for n, argument in zip(payload.externals, arguments, strict=True):
        if payload.tensors[n].shape != method.shape(argument):
            raise ValueError(f"value {n} of shape {payload.tensors[n].shape} is fed {method.shape(argument)}")
    return payload


def _payload(program: Parsed, step: Step) -> Payload | None:
    if step.data is None or step.name != XNNPACK:
        raise CheckpointError(f"is made for the delegate {step.name}, which is not here; {XNNPACK} is")
    payload = parsed_payload(step.data, program.named)
    check_shapes(payload)
    return payload


def _try_elsewhere(path: Path, data: Path | None) -> None:
    """Raises ArtifactError where loading and running the file ends a process."""
    command = [
        sys.executable,
        "-m",
        "converters.formats.executorch_trial",
        *(str(each.resolve()) for each in (path, data) if each),
    ]
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(command, capture_output=True, timeout=TRIAL, env={**os.environ, "PYTHONPATH": paths})
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{path}: ExecuTorch did not end with it in {TRIAL} s") from None
    if done.returncode:
        raise ArtifactError(f"{path}: damaged .pte: ExecuTorch ends its process with it")
