"""TFLite's tables and what their fields are numbered: what of the schema a U²-Net in integers needs.

Source: tflite/converter/schema/schema.fbs of LiteRT; versions of operators: tools/versioning/op_version.cc there.
"""

from enum import IntEnum

__all__ = [
    "VERSIONS",
    "Buffer",
    "Code",
    "ConvField",
    "Data",
    "Entry",
    "Kind",
    "Model",
    "OperatorField",
    "Options",
    "PoolField",
    "Quantization",
    "ResizeField",
    "Signature",
    "Subgraph",
    "TensorField",
]


class Kind(IntEnum):
    """`BuiltinOperator`."""

    ADD = 0
    CONCATENATION = 2
    CONV_2D = 3
    LOGISTIC = 14
    MAX_POOL_2D = 17
    RESIZE_BILINEAR = 23
    PAD = 34
    QUANTIZE = 114


class Options(IntEnum):
    """The union `BuiltinOptions`."""

    NONE = 0
    Conv2D = 1
    Pool2D = 5
    Concatenation = 10
    Add = 11
    ResizeBilinear = 15
    Pad = 22
    Quantize = 89


class Data(IntEnum):
    """`TensorType`."""

    int32 = 2
    uint8 = 3
    int64 = 4
    int16 = 7
    int8 = 9


# Kind: (its first version that takes int8, … int16)
VERSIONS = {
    Kind.ADD: (2, 2),
    Kind.CONCATENATION: (2, 3),
    Kind.CONV_2D: (3, 4),
    Kind.LOGISTIC: (2, 3),
    Kind.MAX_POOL_2D: (2, 3),
    Kind.RESIZE_BILINEAR: (3, 4),
    Kind.PAD: (2, 3),
    Kind.QUANTIZE: (2, 2),
}


class Model(IntEnum):
    version = 0
    codes = 1
    subgraphs = 2
    description = 3
    buffers = 4
    metadata = 6
    signatures = 7


class Code(IntEnum):
    short = 0  # a byte, for readers from before 127 operators
    version = 2
    kind = 3


class Subgraph(IntEnum):
    tensors = 0
    inputs = 1
    outputs = 2
    operators = 3


class TensorField(IntEnum):
    shape = 0
    data = 1
    buffer = 2
    called = 3
    quantization = 4
    has_rank = 8


class Quantization(IntEnum):
    scale = 2
    zero = 3
    axis = 6


class OperatorField(IntEnum):
    code = 0
    inputs = 1
    outputs = 2
    options_kind = 3
    options = 4


class ConvField(IntEnum):
    padding = 0
    stride_x = 1
    stride_y = 2
    activation = 3
    dilation_x = 4
    dilation_y = 5


class PoolField(IntEnum):
    padding = 0
    stride_x = 1
    stride_y = 2
    width = 3
    height = 4


class ResizeField(IntEnum):
    half_pixel_centers = 3


class Buffer(IntEnum):
    data = 0


class Entry(IntEnum):
    """Of metadata, and of a signature's list of tensors: a name and an index."""

    called = 0
    index = 1


class Signature(IntEnum):
    inputs = 0
    outputs = 1
    key = 2
