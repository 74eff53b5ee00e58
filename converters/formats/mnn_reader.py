"""MNN files of any converter -> Checkpoint. Parsed here, with every offset checked; nothing is handed to the engine."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import check_size

from .flat_tables import Table, root
from .mnn_kernels import kernel_values
from .mnn_metadata import words_of
from .mnn_schema import Binary, Blob, Common, Conv, DataType, Kind, Net, Op, Parameter, Unary
from .other_activations import clamp
from .weight_graph import Affine, Graph, Node, beside_constant
from .weight_graph import Conv as Convolution

__all__ = ["Model", "Operation", "Window", "constant", "model", "read"]

SIX = 6.0  # where ReLU6 cuts off
WIDEST = 1 << 16  # of any number of a convolution
MOST = 20_000  # operations; the family's largest published networks have under 500
BLOBS: dict[int, tuple[int, str]] = {
    DataType.half: (Blob.uint8s, "u1"),
    DataType.float: (Blob.float32s, "<f4"),
    DataType.int32: (Blob.int32s, "<i4"),
    DataType.int64: (Blob.int64s, "<i8"),
}


def read(path: Path) -> Checkpoint:
    """By the graph; integer weights are dequantised. Raises CheckpointError: damaged, or no U²-Net."""
    found = model(path)
    try:
        return found.graph().checkpoint(found.words)
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise CheckpointError(f"damaged .mnn ({one_line(error)})") from None


def model(path: Path) -> "Model":
    """The file's operations; its weights are not unpacked yet. Raises CheckpointError: damaged."""
    check_size(path.stat().st_size, "the file")
    try:
        return Model(root(path.read_bytes()))
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise CheckpointError(f"damaged or no .mnn ({one_line(error)})") from None


@dataclass(frozen=True)
class Operation:
    """One operation; inputs and outputs are indices of tensors.

    Attributes:
        kind: see `Kind`; others have the number alone.
        parameter: its table, None where it has none or one of another kind than such operations have.
    """

    kind: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameter_kind: int
    parameter: Table | None

    @classmethod
    def of(cls, op: Table) -> "Operation":
        known = Op.parameter in op and Op.parameter_kind in op
        return cls(
            op.integer(Op.kind),
            op.text(Op.called),
            tuple(op.array(Op.inputs, "<i4").tolist()),
            tuple(op.array(Op.outputs, "<i4").tolist()),
            op.byte(Op.parameter_kind) if known else 0,
            op.table(Op.parameter) if known else None,
        )

    def given(self, kind: Parameter) -> Table:
        """Its parameter, which has to be of that kind. Raises ValueError."""
        if self.parameter is None or self.parameter_kind != kind:
            raise ValueError(f"operation {self.name!r} has no {kind.name}")
        return self.parameter


class Model:
    """The operations of a file, in its order.

    Attributes:
        tensors: their names; operations go by the indices.
        outputs: names of tensors that it answers.
        words: its metadata.
    """

    def __init__(self, net: Table):
        tables = net.tables(Net.ops) if len(net.array(Net.ops, "<u4")) <= MOST else None
        if not tables:
            raise CheckpointError("not an MNN model: it lists no operations, or too many")
        self.ops = [Operation.of(op) for op in tables]
        self.tensors = net.texts(Net.tensors)
        self.outputs = net.texts(Net.outputs)
        self.words = words_of(net)
        self.weights = 0

    def constants(self) -> dict[int, np.ndarray]:
        """Tensor -> value, of constants; those of kinds that are not read are left out."""
        blobs = {op.outputs[0]: op.given(Parameter.Blob) for op in self.ops if op.kind == Kind.Const and op.outputs}
        found = {index: constant(blob) for index, blob in blobs.items()}
        return {index: value for index, value in found.items() if value is not None}

    def graph(self) -> Graph:
        """Values are named after their tensors' indices."""
        names = {name: index for index, name in enumerate(self.tensors)}
        outputs = [str(names[name]) for name in self.outputs if name in names]
        return Graph(list(self._nodes()), outputs)

    def _nodes(self) -> Iterator[Node]:
        constants = self.constants()
        for op in self.ops:
            inputs, outputs = (tuple(str(n) for n in ends) for ends in (op.inputs, op.outputs))
            role: Convolution | Affine | None = None
            if op.kind == Kind.Convolution:
                role = self.convolution(op)
            elif op.kind == Kind.Scale:
                role = _scale(op.given(Parameter.Scale))
            elif op.kind == Kind.BinaryOp and len(op.inputs) == 2:
                operation = op.given(Parameter.BinaryOp).integer(0)
                if operation in (Binary.add, Binary.mul):
                    values = [constants.get(n) for n in op.inputs]
                    role, inputs = beside_constant(inputs, values, product=operation == Binary.mul)
            yield Node(_kind(op), inputs, outputs, role, fused=_fused(op))

    def convolution(self, op: Operation) -> Convolution:
        conv = op.given(Parameter.Convolution2D)
        shape = Window.of(op).kernel
        count = math.prod(shape)
        self.weights += count
        check_size(4 * self.weights, "its weights together")
        values, storage = kernel_values(conv, shape[0], count, op.name)
        if len(values) != count:
            raise CheckpointError(f"{op.name}: {len(values)} weights; its kernel {shape} needs {count}")
        bias = conv.array(Conv.bias, "<f4")
        return Convolution(values.reshape(shape), bias if len(bias) else None, storage, max(Window.of(op).dilation))


@dataclass(frozen=True)
class Window:
    """What a convolution's table says of its kernel.

    Attributes:
        kernel: (O, I, h, w).
        pads: top, left, bottom, right.
        mode: how it is padded: 0 by `pads`, 1 not at all, 2 to the same size.
    """

    kernel: tuple[int, int, int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]
    mode: int
    group: int

    @classmethod
    def of(cls, op: Operation) -> "Window":
        """Raises ValueError: numbers that no convolution has."""
        conv = op.given(Parameter.Convolution2D)
        common = conv.table(Conv.common)
        names = (Common.kernel_y, Common.kernel_x, Common.stride_y, Common.stride_x, Common.dilate_y, Common.dilate_x)
        height, width, *others = (common.integer(name, 1) for name in names)
        out, inputs = common.integer(Common.outputs), common.integer(Common.inputs)
        if not inputs and out * height * width > 0:  # older converters left it out
            stored = conv.array(Conv.weight, "<f4").size
            inputs = stored // (out * height * width)
        numbers = (out, inputs, height, width, *others)
        if not all(1 <= number <= WIDEST for number in numbers):
            raise ValueError(f"operation {op.name!r} has the numbers {numbers}")
        pads = tuple(common.array(Common.pads, "<i4").tolist())
        high, wide = common.integer(Common.pad_y), common.integer(Common.pad_x)
        whole = pads if len(pads) == 4 else (*(pads or (high, wide)), *(pads or (high, wide)))
        if len(whole) != 4 or not all(0 <= pad <= WIDEST for pad in whole):
            raise ValueError(f"operation {op.name!r} is padded by {whole}")
        mode, group = common.byte(Common.pad_mode), common.integer(Common.group, 1)
        kernel = (out, inputs, height, width)
        return cls(kernel, (others[0], others[1]), (others[2], others[3]), whole, mode, group)


def constant(blob: Table) -> np.ndarray | None:
    """A constant's value; None where its kind is not read."""
    kind = blob.integer(Blob.data_type, DataType.float)
    if kind not in BLOBS:
        return None
    field, dtype = BLOBS[kind]
    value = blob.array(field, dtype)
    value = np.frombuffer(value.tobytes(), "<f2").astype(np.float32) if kind == DataType.half else value
    return value.reshape(tuple(blob.array(Blob.dims, "<i4").tolist()))


def _scale(scale: Table) -> Affine:
    """A product and a sum per channel."""
    gamma, beta = scale.array(1, "<f4"), scale.array(2, "<f4")
    return Affine(gamma[:, None, None], beta[:, None, None] if len(beta) else 0.0)


def _kind(op: Operation) -> str:
    """As the shared graph calls what it looks for."""
    if op.kind == Kind.UnaryOp and op.given(Parameter.UnaryOp).integer(0) == Unary.sigmoid:
        return "Sigmoid"
    if op.kind == Kind.ConvertTensor:
        return "Identity"
    if op.kind == Kind.ReLU6:
        limits = op.parameter if op.parameter_kind == Parameter.Relu6 else None
        return clamp(limits.real(0), limits.real(1, SIX)) if limits else clamp(0.0, SIX)
    if op.kind == Kind.ReLU and op.parameter_kind == Parameter.Relu and op.given(Parameter.Relu).real(0):
        return "LeakyRelu"
    return Kind(op.kind).name if op.kind in list(Kind) else str(op.kind)


def _fused(op: Operation) -> str:
    """The activation that is part of a convolution, where it is no ReLU."""
    if op.kind != Kind.Convolution or not op.given(Parameter.Convolution2D).table(Conv.common).flag(Common.relu6):
        return ""
    return clamp(0.0, SIX)
