"""MNN's tables and what their fields are numbered: what of the schema a U²-Net needs.

Source: schema/default of the MNN project (MNN.fbs, CaffeOp.fbs, Tensor.fbs, TensorflowOp.fbs), release 3.6.
"""

from enum import IntEnum

__all__ = [
    "Binary",
    "Blob",
    "Common",
    "Conv",
    "DataType",
    "Interp",
    "Kind",
    "Layouts",
    "Net",
    "Op",
    "Parameter",
    "Pool",
    "Quan",
    "Slice",
    "Stored",
    "Unary",
]


class Kind(IntEnum):
    """`OpType`."""

    ArgMax = 2
    BinaryOp = 7
    Cast = 9
    Concat = 10
    Const = 11
    Convolution = 12
    Input = 34
    Interp = 35
    Pooling = 47
    Reduction = 68
    ReLU = 69
    ReLU6 = 70
    Scale = 77
    Shape = 80
    Sigmoid = 81
    StridedSlice = 91
    UnaryOp = 101
    ConvertTensor = 129


class Parameter(IntEnum):
    """The union `OpParameter`."""

    ArgMax = 2
    Axis = 4
    BinaryOp = 6
    Blob = 7
    CastParam = 8
    Convolution2D = 9
    Input = 21
    Interp = 22
    Pool = 31
    ReductionParam = 50
    Relu = 51
    Relu6 = 52
    Scale = 58
    StridedSliceParam = 65
    TensorConvertInfo = 66
    UnaryOp = 70


class Net(IntEnum):
    biz_code = 0
    extra_info = 2  # a table of buffer, name, version
    ops = 3
    outputs = 4
    source = 6
    tensors = 7


class Op(IntEnum):
    inputs = 0
    parameter_kind = 1
    parameter = 2
    called = 3
    outputs = 4
    kind = 5
    layout = 6


class Conv(IntEnum):
    """`Convolution2D`."""

    common = 0
    weight = 1
    bias = 2
    quan = 3
    symmetric = 4
    sparse = 5
    external = 6


class Common(IntEnum):
    """`Convolution2DCommon`."""

    pad_x = 0
    pad_y = 1
    kernel_x = 2
    kernel_y = 3
    stride_x = 4
    stride_y = 5
    dilate_x = 6
    dilate_y = 7
    pad_mode = 8
    group = 9
    outputs = 10
    inputs = 11
    relu = 12
    relu6 = 13
    pads = 14


class Quan(IntEnum):
    """`IDSTQuan`: how weights are stored that are no floats."""

    buffer = 0
    alpha = 1
    kind = 2
    scale = 4
    bits = 7
    least = 8
    channels = 9
    wide_shape = 11
    scale_storage = 15


class Stored(IntEnum):
    """`IDSTQuan.type`."""

    table = 1  # indices into a table of int8
    sparse = 2
    half = 3
    int8 = 4


class Pool(IntEnum):
    pad_x = 0
    pad_y = 1
    whole = 2
    kernel_x = 3
    kernel_y = 4
    stride_x = 5
    stride_y = 6
    kind = 7
    pad_kind = 8
    data_type = 9
    ceil = 10
    pads = 11


class Slice(IntEnum):
    """`StridedSliceParam`."""

    begin_mask = 2
    end_mask = 3
    ellipsis_mask = 4
    new_axis_mask = 5
    shrink_axis_mask = 6
    source = 7


class Interp(IntEnum):
    width_scale = 0
    height_scale = 1
    width = 2
    height = 3
    kind = 4
    align_corners = 5
    half_pixels = 6
    coordinates = 10


class Blob(IntEnum):
    dims = 0
    layout = 1
    data_type = 2
    uint8s = 3
    int8s = 4
    int32s = 5
    int64s = 6
    float32s = 7
    external = 9


class DataType(IntEnum):
    float = 1
    int32 = 3
    uint8 = 4
    int8 = 6
    int64 = 9
    half = 19


class Layouts(IntEnum):
    """`MNN_DATA_FORMAT`; the packed one keeps four channels together."""

    NCHW = 0
    NHWC = 1
    NC4HW4 = 2


class Binary(IntEnum):
    """`BinaryOpOperation`."""

    add = 0
    sub = 1
    mul = 2
    div = 7


class Unary(IntEnum):
    """`UnaryOpOperation`."""

    sigmoid = 29
