"""XNNPACK's graphs inside of ExecuTorch's programs: kinds of nodes and what their fields are numbered.

Source: backends/xnnpack/serialization/runtime_schema.fbs of the ExecuTorch project, release 1.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "EXTERNAL_INPUT",
    "EXTERNAL_OUTPUT",
    "KEEP_DIMS",
    "LAYOUTS",
    "MOST_JOINED",
    "NONE",
    "NOWHERE",
    "Cat",
    "ConstantData",
    "Conv",
    "DataType",
    "Fields",
    "Graph",
    "NodeKind",
    "Pooling",
    "Quantised",
    "Resize",
    "Transpose",
    "Value",
]

NONE = (1 << 32) - 1  # an id of no value
NOWHERE = (1 << 64) - 1  # an offset of data that go by their name
EXTERNAL_INPUT, EXTERNAL_OUTPUT = 1, 2  # flags of a value
KEEP_DIMS = 0x40  # a flag of pooling
MOST_JOINED = 5  # values by one concatenation


class Graph(IntEnum):
    """Fields of the outermost table."""

    version = 0
    nodes = 1
    values = 2
    externals = 3
    inputs = 4
    outputs = 5
    buffers = 6  # constants in the tables themselves; files of 2023 and before
    constants = 8


class NodeKind(IntEnum):
    Add = 1
    FullyConnected = 2
    Softmax = 3
    Sigmoid = 4
    StaticTranspose = 5
    Clamp = 6
    Conv2d = 7
    Div = 8
    StaticResizeBilinear2D = 9
    StaticConstantPad = 10
    AvgPooling2d = 11
    Minimum = 12
    DepthwiseConv2d = 13
    MaxPooling2d = 14
    Multiply = 15
    Subtract = 16
    Floor = 17
    Convert = 18
    GlobalAvgPooling2d = 19
    StaticReshape = 20
    SquareRoot = 22
    Ceiling = 23
    Hardswish = 24
    LeakyReLU = 25
    Maximum = 26
    Negate = 27
    Square = 28
    ELU = 29
    Abs = 30
    PReLU = 31
    Concatenate2 = 32
    Concatenate3 = 33
    Concatenate4 = 34
    StaticSlice = 35
    BatchMatrixMultiply = 37
    Concatenate5 = 38
    ReciprocalSquareRoot = 40
    Log = 41
    Gelu = 42
    Tanh = 43
    Exp = 44
    Sin = 45
    Copy = 46
    Cos = 47


class DataType(IntEnum):
    fp32 = 1
    fp16 = 2
    qint8 = 3
    qint32 = 5
    qcint8 = 6  # per channel
    qcint32 = 7


class Quantised(IntEnum):
    """Fields of a quantised value; its parameters are per channel (1) or per tensor (2)."""

    value = 0
    kind = 1
    parameters = 2


class Value(IntEnum):
    datatype = 0
    rank = 1
    dims = 2
    constant = 3
    external = 4
    flags = 5
    id = 6


class ConstantData(IntEnum):
    offset = 0
    size = 1
    key = 2


class Conv(IntEnum):
    top = 0
    right = 1
    bottom = 2
    left = 3
    kernel_height = 4
    kernel_width = 5
    stride_height = 6
    stride_width = 7
    dilation_height = 8
    dilation_width = 9
    inputs = 10
    outputs = 11
    groups = 12
    higher = 13
    wider = 14
    x = 15
    filter = 16
    bias = 17
    y = 18
    flags = 19


class Pooling(IntEnum):
    top = 0
    right = 1
    bottom = 2
    left = 3
    height = 4
    width = 5
    stride_height = 6
    stride_width = 7
    dilation_height = 8
    dilation_width = 9
    x = 10
    y = 11
    flags = 12


class Cat(IntEnum):
    axis = 0
    y = 5


class Resize(IntEnum):
    height = 0
    width = 1
    x = 2
    y = 3
    flags = 4


class Transpose(IntEnum):
    rank = 0
    order = 1
    x = 2
    y = 3
    flags = 4


@dataclass(frozen=True)
class Fields:
    """Which fields of a kind's table are values that it takes, the one that it makes, lists and real numbers."""

    inputs: tuple[int, ...]
    output: int
    lists: tuple[int, ...] = ()
    reals: tuple[int, ...] = ()


_ONE, _TWO = Fields((0,), 1), Fields((0, 1), 2)
_CONV = Fields((Conv.x, Conv.filter, Conv.bias), Conv.y)
_POOL = Fields((Pooling.x,), Pooling.y)
_BINARY = ("Add", "Div", "Minimum", "Multiply", "Subtract", "Maximum", "PReLU", "BatchMatrixMultiply")
_OTHERS = {
    NodeKind.FullyConnected: Fields((0, 1, 2), 3),
    NodeKind.StaticTranspose: Fields((2,), 3, lists=(1,)),
    NodeKind.Conv2d: _CONV,
    NodeKind.DepthwiseConv2d: _CONV,
    NodeKind.StaticResizeBilinear2D: Fields((Resize.x,), Resize.y),
    NodeKind.StaticConstantPad: Fields((3,), 4, lists=(0, 1), reals=(2,)),
    NodeKind.AvgPooling2d: _POOL,
    NodeKind.MaxPooling2d: _POOL,
    NodeKind.StaticReshape: Fields((2,), 3, lists=(1,)),
    NodeKind.LeakyReLU: Fields((1,), 2, reals=(0,)),
    NodeKind.ELU: Fields((1,), 2, reals=(0,)),
    NodeKind.StaticSlice: Fields((3,), 4, lists=(1, 2)),
    NodeKind.Concatenate2: Fields((1, 2), Cat.y),
    NodeKind.Concatenate3: Fields((1, 2, 3), Cat.y),
    NodeKind.Concatenate4: Fields((1, 2, 3, 4), Cat.y),
    NodeKind.Concatenate5: Fields((1, 2, 3, 4, 7), Cat.y),
}
LAYOUTS: Mapping[NodeKind, Fields] = {
    kind: _OTHERS.get(kind) or (_TWO if kind.name in _BINARY else _ONE) for kind in NodeKind
}
