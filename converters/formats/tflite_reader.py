"""TFLite files of any converter -> Checkpoint: fp32, fp16 behind DEQUANTIZE, int8 per tensor or per channel, and files
that are computed in integers, of 8 bits or with activations of 16.

The flatbuffer is read with the published schema; nothing is handed to the interpreter. The Python accessors trust what
the file says, so lengths are checked against the file's size before anything is counted.
"""

import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import check_size

from ..embedded import read_embedded
from ..options import W8A8
from ..quantise.pixel_input import from_pixels
from .tflite_metadata import notes
from .weight_graph import Affine, Conv, Graph, Node, beside_constant

__all__ = ["activations", "check", "read"]

DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 7: np.int16, 9: np.int8, 10: np.float64}
PASSING = ("DEQUANTIZE", "QUANTIZE", "CAST", "RESHAPE")  # a constant may come through these
FUSING = {"CONV_2D": "Conv2DOptions", "ADD": "AddOptions", "MUL": "MulOptions"}
IDENTIFIER = b"TFL3"
LARGEST = 1 << 28  # elements of one activation


def read(path: Path) -> Checkpoint:
    """By the graph; integer weights are dequantised. Raises CheckpointError: damaged, or no U²-Net."""
    checkpoint = _graph(path).checkpoint()
    embedded = read_embedded(notes(np.memmap(path, mode="r")))
    if embedded and embedded.precision == W8A8:  # our own; its first kernel holds the profile's normalisation
        return from_pixels(checkpoint, embedded.profile)
    return checkpoint


def activations(path: Path) -> list[int]:
    """Indices of the tensors that are the units' activations, in the order of `Architecture.units()`."""
    return [int(name) for name in _graph(path).activations()]


def check(path: Path) -> None:
    """Follow every offset of the file once. Raises CheckpointError when one leads out of it, or a tensor is too large.

    The interpreter believes what a file says: with a damaged one it ends its process, or never ends.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = _Bounded(_content(path))
    with _damage_named():
        model = schema.ModelT.InitFromPackedBuf(content)
        for tensor in (each for graph in model.subgraphs or () for each in graph.tensors or ()):
            shape = [int(side) for side in tensor.shape] if tensor.shape is not None else []
            if math.prod(max(side, 1) for side in shape) > LARGEST:
                raise CheckpointError(f"it makes a tensor of shape {shape}")


def _content(path: Path) -> bytes:
    check_size(path.stat().st_size, "the file")
    content = path.read_bytes()
    if content[4:8] != IDENTIFIER:
        raise CheckpointError("not a TFLite file: its identifier is missing")
    return content


@contextlib.contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # flatbuffers raises struct.error, IndexError, TypeError, ValueError … for damage
        raise CheckpointError(f"damaged TFLite file ({one_line(error)})") from None


class _Bounded(bytes):
    """Text that would go on behind the end is not cut to what there is."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop is not None and key.stop > len(self):
            raise IndexError(f"text up to byte {key.stop} of {len(self)}")
        return super().__getitem__(key)


def _graph(path: Path) -> Graph:
    content = _content(path)
    with _damage_named():
        return _File(content).graph()


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
        self.copies = {
            outputs[0]: len(inputs)
            for kind, inputs, outputs, _ in self.operators
            if kind == "CONCATENATION" and outputs and len(set(inputs)) == 1
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
        return Graph([self.node(*entry) for entry in self.operators], [str(n) for n in outputs])

    def node(self, kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...], operator: Any) -> Node:
        names = tuple(str(n) for n in inputs)
        role: Conv | Affine | None = None
        if kind == "CONV_2D":
            kernel = self.constant(inputs[1])
            bias = self.constant(inputs[2]) if len(inputs) > 2 else None
            if kernel is not None and kernel.ndim == 4:
                once = _of_one_copy(kernel, self.copies.get(inputs[0], 1))
                stored, computes = self.storage(inputs[1]), self.integers(inputs[0])
                role = Conv(once.transpose(0, 3, 1, 2), bias, stored, self.dilation(operator), computes)
        elif kind in ("ADD", "MUL") and len(inputs) == 2:
            values = [self.constant(n) for n in inputs]
            role, names = beside_constant(names, values, product=kind == "MUL")
        spread = self.constant(inputs[1]) if kind == "SPACE_TO_BATCH_ND" else None
        results = tuple(str(n) for n in outputs)
        apart = 1 if spread is None else int(spread.max(initial=1))
        return Node(kind, names, results, role, apart, self.fused(kind, operator))

    def fused(self, kind: str, operator: Any) -> str:
        """The activation that is part of an operation, where it is no ReLU."""
        from ai_edge_litert import schema_py_generated as schema

        table = operator.BuiltinOptions()
        if kind not in FUSING or table is None:
            return ""
        options = getattr(schema, FUSING[kind])()
        options.Init(table.Bytes, table.Pos)
        names = {number: name for name, number in vars(schema.ActivationFunctionType).items() if name[0] != "_"}
        name = names.get(options.FusedActivationFunction(), "?")
        return "" if name in ("NONE", "RELU") else name

    def dilation(self, operator: Any) -> int:
        from ai_edge_litert import schema_py_generated as schema

        options, table = schema.Conv2DOptions(), operator.BuiltinOptions()
        if table is None:
            return 1  # what the schema takes for a table that is not there
        options.Init(table.Bytes, table.Pos)
        return max(options.DilationHFactor(), options.DilationWFactor())

    def _constant(self, index: int) -> np.ndarray | None:
        """A constant's real values, or None for what is computed."""
        found = self.stored(index)
        return self.values(*found) if found else None

    def stored(self, index: int) -> tuple[Any, np.ndarray] | None:
        """(tensor, bytes) that a constant comes from, or None for what is computed."""
        for _ in range(8):
            if not 0 <= index < self.tensors:
                return None
            tensor = self.subgraph.Tensors(index)
            data = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
            if not isinstance(data, int) and len(data):
                return tensor, data
            if index not in self.passing:
                return None
            index = self.passing[index]
        return None

    def storage(self, index: int) -> str:
        """`int8 per channel` of a constant that is stored so; empty where it is stored in floats, or computed."""
        found = self.stored(index)
        kind = np.dtype(DTYPES[found[0].Type()]) if found else np.dtype(np.float32)
        if found is None or kind.kind == "f" or found[0].Quantization() is None:
            return ""
        return f"{kind.name} per {'channel' if found[0].Quantization().ScaleLength() > 1 else 'tensor'}"

    def integers(self, index: int) -> str:
        """The type of a map of integers; empty of one of floats."""
        kind = DTYPES.get(self.subgraph.Tensors(index).Type()) if 0 <= index < self.tensors else None
        return np.dtype(kind).name if kind and np.dtype(kind).kind in "iu" else ""

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


def _of_one_copy(kernel: np.ndarray, copies: int) -> np.ndarray:
    """(O, h, w, copies · I) of an input that stands beside itself: what they add up to, (O, h, w, I)."""
    if kernel.shape[3] % copies:
        raise CheckpointError(f"a kernel of {kernel.shape[3]} channels takes {copies} copies of a map")
    return kernel.reshape(*kernel.shape[:3], copies, -1).sum(axis=3) if copies > 1 else kernel
