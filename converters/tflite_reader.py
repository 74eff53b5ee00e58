"""TFLite files of any converter -> Checkpoint: fp32, fp16 behind DEQUANTIZE, int8 per tensor or per channel.

The flatbuffer is read with the published schema; nothing is handed to the interpreter. The Python accessors trust what
the file says, so lengths are checked against the file's size before anything is counted.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import check_size

from .graph import Affine, Conv, Graph, Node

__all__ = ["activations", "read"]

DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8, 10: np.float64}
PASSING = ("DEQUANTIZE", "QUANTIZE", "CAST", "RESHAPE")  # a constant may come through these
IDENTIFIER = b"TFL3"


def read(path: Path) -> Checkpoint:
    """By the graph; integer weights are dequantised. Raises CheckpointError: damaged, or no U²-Net."""
    return _graph(path).checkpoint()


def activations(path: Path) -> list[int]:
    """Indices of the tensors that are the units' activations, in the order of `Architecture.units()`."""
    return [int(name) for name in _graph(path).activations()]


def _graph(path: Path) -> Graph:
    check_size(path.stat().st_size, "the file")
    content = path.read_bytes()
    if content[4:8] != IDENTIFIER:
        raise CheckpointError("not a TFLite file: its identifier is missing")
    try:
        return _File(content).graph()
    except CheckpointError:
        raise
    except Exception as error:  # flatbuffers raises struct.error, IndexError, TypeError, ValueError … for damage
        raise CheckpointError(f"damaged TFLite file ({one_line(error)})") from None


class _File:
    """The first subgraph of a file."""

    def __init__(self, content: bytes):
        from ai_edge_litert import schema_py_generated as schema

        self.content = content
        self.kinds = {n: kind for kind, n in vars(schema.BuiltinOperator).items() if not kind.startswith("_")}
        self.model = schema.Model.GetRootAsModel(content, 0)
        self.subgraph = self.model.Subgraphs(0)
        self.tensors = self.bounded(self.subgraph.TensorsLength())
        operators = [self.subgraph.Operators(i) for i in range(self.bounded(self.subgraph.OperatorsLength()))]
        self.operators = [
            (self.kind(op), self.indices(op.InputsAsNumpy()), self.indices(op.OutputsAsNumpy()), op) for op in operators
        ]
        self.passing = {
            outputs[0]: inputs[0]
            for kind, inputs, outputs, _ in self.operators
            if kind in PASSING and inputs and outputs
        }
        self.constant = functools.cache(self._constant)

    def bounded(self, count: int) -> int:
        """A vector's length, believed only when the file is large enough for it."""
        if not 0 <= count <= len(self.content) // 4:
            raise CheckpointError(f"damaged TFLite file (a list of {count} entries)")
        return count

    def kind(self, operator: Any) -> str:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        return self.kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "?")

    def indices(self, vector: Any) -> tuple[int, ...]:
        return () if isinstance(vector, int) else tuple(int(n) for n in vector)  # an absent vector is the number 0

    def graph(self) -> Graph:
        outputs = self.indices(self.subgraph.OutputsAsNumpy())
        return Graph([self.node(*entry[:3]) for entry in self.operators], [str(n) for n in outputs])

    def node(self, kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Node:
        role: Conv | Affine | None = None
        if kind == "CONV_2D":
            kernel = self.constant(inputs[1])
            bias = self.constant(inputs[2]) if len(inputs) > 2 else None
            role = Conv(kernel.transpose(0, 3, 1, 2), bias) if kernel is not None and kernel.ndim == 4 else None
        elif kind in ("ADD", "MUL") and len(inputs) == 2:
            values = [self.constant(n) for n in inputs]
            value = values[0] if values[1] is None else values[1]
            if value is not None:
                role = Affine(1.0, value) if kind == "ADD" else Affine(value, 0.0)
                inputs = (inputs[1 if values[1] is None else 0],)
        return Node(kind, tuple(str(n) for n in inputs), tuple(str(n) for n in outputs), role)

    def _constant(self, index: int) -> np.ndarray | None:
        """A constant's real values, or None for what is computed."""
        for _ in range(8):
            if not 0 <= index < self.tensors:
                return None
            tensor = self.subgraph.Tensors(index)
            data = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
            if not isinstance(data, int) and len(data):
                return self.values(tensor, data)
            if index not in self.passing:
                return None
            index = self.passing[index]
        return None

    def values(self, tensor: Any, data: np.ndarray) -> np.ndarray:
        if tensor.Sparsity() is not None or tensor.Type() not in DTYPES:
            raise CheckpointError(f"tensor {tensor.Name()!r}: sparse, or of a type that is not supported")
        shape = self.indices(tensor.ShapeAsNumpy())
        array = np.frombuffer(data.tobytes(), DTYPES[tensor.Type()]).reshape(shape)
        quantization = tensor.Quantization()
        if quantization is None or isinstance(quantization.ScaleAsNumpy(), int) or array.dtype.kind == "f":
            return array
        scale = quantization.ScaleAsNumpy().astype(np.float32)
        points = quantization.ZeroPointAsNumpy()
        zero = np.zeros(1, np.float32) if isinstance(points, int) else points.astype(np.float32)
        axis = [1] * array.ndim
        if scale.size > 1:
            axis[quantization.QuantizedDimension()] = -1
        zero = zero.reshape(axis) if zero.size == scale.size else zero
        return (array.astype(np.float32) - zero) * scale.reshape(axis)
