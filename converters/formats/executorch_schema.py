"""ExecuTorch's tables and what their fields are numbered: what of the schema a program of convolutions needs.

Source: schema/program.fbs, schema/scalar_type.fbs and extension/flat_tensor/serialize/flat_tensor.fbs of the
ExecuTorch project, release 1.5.
"""

from enum import IntEnum

__all__ = [
    "Allocation",
    "Call",
    "Chain",
    "Constants",
    "Delegate",
    "FlatTensor",
    "Instruction",
    "Kind",
    "Named",
    "Operator",
    "Plan",
    "Program",
    "Reference",
    "Scalar",
    "Segment",
    "Tensor",
    "Typed",
]


class Program(IntEnum):
    """Fields of the outermost table."""

    version = 0
    plans = 1
    buffers = 2  # constants in the tables themselves; files of 2024 and before
    inline = 3  # data of delegates, likewise
    segments = 4
    constants = 5
    named = 7


class Plan(IntEnum):
    """Fields of a method."""

    called = 0
    containers = 1
    values = 2
    inputs = 3
    outputs = 4
    chains = 5
    operators = 6
    delegates = 7
    memory = 8


class Typed(IntEnum):
    """Fields of a value, or of an instruction: which table, and the table."""

    kind = 0
    table = 1


class Kind(IntEnum):
    """Tables that a value may be."""

    Int = 2
    Bool = 3
    Double = 4
    Tensor = 5
    String = 6
    IntList = 7
    TensorList = 10
    OptionalTensorList = 11


class Tensor(IntEnum):
    scalar = 0
    sizes = 2
    order = 3
    buffer = 5
    allocation = 6
    dynamism = 8
    extra = 9


class Allocation(IntEnum):
    memory = 0
    low = 1
    high = 2


class Scalar(IntEnum):
    """Types of elements."""

    byte = 0
    char = 1
    int32 = 3
    long = 4
    half = 5
    float = 6
    double = 7
    bool = 11


class Chain(IntEnum):
    inputs = 0
    outputs = 1
    instructions = 2


class Instruction(IntEnum):
    """Tables that an instruction may be."""

    kernel = 1
    delegate = 2


class Call(IntEnum):
    """Fields of a call of a kernel or of a delegate."""

    index = 0
    arguments = 1


class Operator(IntEnum):
    called = 0
    overload = 1


class Delegate(IntEnum):
    called = 0
    data = 1
    specs = 2


class Reference(IntEnum):
    """Where a delegate's data are: in the tables (0) or in a segment (1)."""

    location = 0
    index = 1


class Segment(IntEnum):
    offset = 0
    size = 1


class Constants(IntEnum):
    segment = 0
    offsets = 1


class Named(IntEnum):
    key = 0
    segment = 1


class FlatTensor(IntEnum):
    """Fields of a `.ptd` file, which holds data for others by their names."""

    segments = 1
    named = 2
