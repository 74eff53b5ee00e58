"""What an MNN file makes of its input, worked out from its tables before the engine gets it.

The engine believes what a file says: indices, sizes and lists of weights that do not fit together end its process. So
every operation of a file that is run is one of those below, and its numbers fit the shapes that reach it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from u2net_zoo.errors import ArtifactError, CheckpointError, one_line

from ..options import LARGEST_SIDE
from . import mnn_reader
from .mnn_reader import Operation, Window, constant
from .mnn_schema import Binary, Blob, Conv, DataType, Interp, Kind, Layouts, Parameter, Pool, Quan, Stored
from .mnn_values import VALUES

__all__ = ["Checked", "checked"]

LARGEST = 1 << 28  # elements of one activation
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Checked:
    """A file that may be run.

    Attributes:
        shape: of its input; batch -1 for any.
        input: its tensor's name.
        outputs: names, in order.
    """

    shape: Shape
    outputs: tuple[str, ...]
    words: dict[str, str]
    model: mnn_reader.Model = field(repr=False)

    def activations(self) -> tuple[str, ...]:
        """Names of the units' activations, in order."""
        return tuple(self.model.tensors[int(index)] for index in self.model.graph().activations())


def checked(path: Path) -> Checked:
    """Raises ArtifactError: damaged, or with operations that are not run here."""
    try:
        model = mnn_reader.model(path)
        return _Shapes(model).checked()
    except CheckpointError as error:
        raise ArtifactError(f"{path}: {error}") from None
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise ArtifactError(f"{path}: damaged .mnn ({one_line(error)})") from None


def _need(holds: bool, op: Operation, what: str) -> None:
    if not holds:
        raise ValueError(f"operation {op.name!r}: {what}")


class _Shapes:
    """Shapes of a model's tensors, operation by operation."""

    def __init__(self, model: mnn_reader.Model):
        self.model = model
        self.shapes: dict[int, Shape] = {}
        self.constants: dict[int, np.ndarray] = {}

    def checked(self) -> Checked:
        inputs = [op for op in self.model.ops if op.kind == Kind.Input]
        if len(inputs) != 1:
            raise CheckpointError(f"has {len(inputs)} inputs; a U²-Net has one")
        for op in self.model.ops:
            self.follow(op)
        names = dict(zip(self.model.tensors, range(len(self.model.tensors)), strict=True))
        outputs = self.model.outputs or [self.model.tensors[index] for index in self.unused()]
        for name in outputs:
            if names.get(name) not in self.shapes:
                raise ValueError(f"answers {name!r}, which no operation makes")
        dims = inputs[0].given(Parameter.Input).array(0, "<i4").tolist()
        return Checked((dims[0] if dims[0] > 0 else -1, *dims[1:]), tuple(outputs), self.model.words, self.model)

    def unused(self) -> list[int]:
        taken = {index for op in self.model.ops for index in op.inputs}
        return [index for index in self.shapes if index not in taken]

    def follow(self, op: Operation) -> None:
        if op.kind not in SHAPES:
            kinds = ", ".join(sorted(kind.name for kind in SHAPES))
            raise CheckpointError(
                f"operation {op.name!r} is of kind {op.kind}, which is not run here; those are: {kinds}"
            )
        given = [self.shapes[index] for index in op.inputs if index in self.shapes]
        _need(len(given) == len(op.inputs), op, "takes what no operation before it makes")
        _need(len(op.outputs) == 1 and 0 <= op.outputs[0] < len(self.model.tensors), op, "makes no tensor of the list")
        _need(op.outputs[0] not in self.shapes, op, "makes a tensor that another one makes")
        values = [self.constants.get(index) for index in op.inputs]
        known = VALUES[Kind(op.kind)](op, given, values) if op.kind in VALUES else None
        if known is not None:
            self.constants[op.outputs[0]] = known
            shape = known.shape
        elif op.kind == Kind.Const:
            shape = self.constant(op)
        elif op.kind == Kind.Interp:
            shape = _resized(op, given, self.constants.get(op.inputs[-1]))
        else:
            shape = SHAPES[Kind(op.kind)](op, given)
        _need(min(shape, default=1) >= 1 and math.prod(shape) <= LARGEST, op, f"makes a tensor of shape {shape}")
        self.shapes[op.outputs[0]] = shape

    def constant(self, op: Operation) -> Shape:
        blob = op.given(Parameter.Blob)
        _need(not op.inputs and not len(blob.array(Blob.external, "<i8")), op, "is no constant of this file")
        value = constant(blob)
        if value is None:
            raise CheckpointError(f"constant {op.name!r} is of a type that is not run here")
        self.constants[op.outputs[0]] = value
        return value.shape


def _one(op: Operation, given: list[Shape], rank: int = 4) -> Shape:
    """The shape of the only input."""
    _need(len(given) == 1 and (not rank or len(given[0]) == rank), op, f"takes {given}")
    return given[0]


def _input(op: Operation, given: list[Shape]) -> Shape:
    table = op.given(Parameter.Input)
    dims = tuple(table.array(0, "<i4").tolist())
    kind, layout = table.integer(1, DataType.float), table.byte(2, Layouts.NC4HW4)
    _need(not given and len(dims) == 4 and layout in (Layouts.NCHW, Layouts.NC4HW4), op, f"gets {dims}, {layout}")
    if kind not in (DataType.float, DataType.uint8):
        raise CheckpointError(f"takes values of type {kind}; float32 or uint8 is needed")
    if any(not 1 <= side <= LARGEST_SIDE for side in dims[2:]):
        raise CheckpointError(f"takes {dims}; one file takes one size here, of sides up to {LARGEST_SIDE}")
    _need(1 <= dims[1] <= LARGEST_SIDE and dims[0] <= LARGEST_SIDE, op, f"gets {dims}")
    return max(dims[0], 1), *dims[1:]


def _converted(op: Operation, given: list[Shape]) -> Shape:
    table = op.given(Parameter.TensorConvertInfo)
    layouts = (table.byte(0), table.byte(1))
    _need(all(layout in (Layouts.NCHW, Layouts.NC4HW4) for layout in layouts), op, f"turns layout {layouts}")
    return _one(op, given)


def _convolved(op: Operation, given: list[Shape]) -> Shape:
    batch, channels, *sides = _one(op, given)
    window, conv = Window.of(op), op.given(Parameter.Convolution2D)
    out, inputs, *kernel = window.kernel
    _need(inputs == channels and window.group == 1, op, f"has a kernel {window.kernel} for {channels} channels")
    _need(window.mode == 0, op, f"is padded in the way {window.mode}")
    _need(len(conv.array(Conv.bias, "<f4")) == out, op, "has not a bias for each channel")
    _need(not ({Conv.symmetric, Conv.sparse} & set(conv.fields)), op, "is quantised in a way that is not run here")
    _weights(op, math.prod(window.kernel), out)
    pads = (window.pads[0] + window.pads[2], window.pads[1] + window.pads[3])
    numbers = zip(sides, pads, kernel, window.stride, window.dilation, strict=True)
    return (
        batch,
        out,
        *((side + pad - step * (width - 1) - 1) // stride + 1 for side, pad, width, stride, step in numbers),
    )


def _weights(op: Operation, count: int, out: int) -> None:
    """They are as many as the kernel has; packed ones are unpacked to see that."""
    conv = op.given(Parameter.Convolution2D)
    if Conv.quan not in conv:
        _need(len(conv.array(Conv.weight, "<f4")) == count, op, f"has not {count} weights")
        return
    quan = conv.table(Conv.quan)
    kind, stored = quan.integer(Quan.kind), len(quan.array(Quan.buffer, "u1"))
    if kind in (Stored.half, Stored.int8):
        _need(stored == count * (2 if kind == Stored.half else 1), op, f"stores {stored} bytes for {count} weights")
    if kind != Stored.half:
        values, _ = mnn_reader.kernel_values(conv, out, count, op.name)
        _need(len(values) == count, op, f"has not {count} weights")


def _pooled(op: Operation, given: list[Shape]) -> Shape:
    batch, channels, *sides = _one(op, given)
    table = op.given(Parameter.Pool)
    names = (Pool.kernel_y, Pool.kernel_x, Pool.stride_y, Pool.stride_x)
    numbers = [table.integer(name) for name in names]
    others = (table.byte(Pool.kind), table.byte(Pool.pad_kind), table.integer(Pool.pad_x), table.integer(Pool.pad_y))
    plain = not any(others) and not any(table.array(Pool.pads, "<i4")) and not table.flag(Pool.whole)
    _need(plain and numbers == [2, 2, 2, 2], op, f"pools by {numbers}, {others}; 2x2 without padding is run here")
    up = bool(table.byte(Pool.ceil, 1))
    return batch, channels, *((side + up) // 2 for side in sides)


def _resized(op: Operation, given: list[Shape], wanted: np.ndarray | None) -> Shape:
    table = op.given(Parameter.Interp)
    _need(len(given) in (1, 2) and len(given[0]) == 4, op, f"takes {given}")
    batch, channels, *sides = given[0]
    if len(given) == 2:
        if wanted is None:
            raise CheckpointError(f"{op.name!r}: its size is computed while the model runs; not run here")
        _need(wanted.size == 4, op, f"gets a size of {wanted.size} numbers")
        scaled = wanted.dtype.kind == "f"
        result = [int(n * side) if scaled else int(n) for n, side in zip(wanted[2:], sides, strict=True)]
    else:
        result = [table.integer(Interp.height), table.integer(Interp.width)]
    _need(all(1 <= side <= LARGEST_SIDE for side in result), op, f"makes maps of {result}")
    return batch, channels, *result


def _joined(op: Operation, given: list[Shape]) -> Shape:
    axis = op.given(Parameter.Axis).integer(0)
    _need(len(given) > 0 and axis in (1, -3) and all(len(shape) == 4 for shape in given), op, f"joins {given}")
    rest = {(shape[0], *shape[2:]) for shape in given}
    _need(len(rest) == 1, op, f"joins {given}")
    return given[0][0], sum(shape[1] for shape in given), *given[0][2:]


def _combined(op: Operation, given: list[Shape]) -> Shape:
    kinds = (*Binary, 4, 5, 8, 9)  # least and largest, by both of their numbers
    operation = op.given(Parameter.BinaryOp).integer(0)
    _need(len(given) == 2 and operation in kinds, op, f"combines {given} by {operation}")
    return np.broadcast_shapes(*given)


def _same(op: Operation, given: list[Shape]) -> Shape:
    return _one(op, given, rank=0)


def _of_each(op: Operation, given: list[Shape]) -> Shape:
    operation = op.given(Parameter.UnaryOp).integer(0)
    _need(0 <= operation <= 33, op, f"is the function {operation}")
    return _one(op, given, rank=0)


def _cast(op: Operation, given: list[Shape]) -> Shape:
    to = op.given(Parameter.CastParam).integer(1)
    _need(to in list(DataType), op, f"turns values into type {to}")
    return _one(op, given, rank=0)


def _reduced(op: Operation, given: list[Shape]) -> Shape:
    table, shape = op.given(Parameter.ReductionParam), _one(op, given)
    axes = tuple(table.array(1, "<i4").tolist())
    plain = 0 < len(axes) == len(set(axes)) and all(0 <= axis < 4 for axis in axes) and table.flag(3)
    _need(plain and table.byte(0) in (0, 3, 4, 5), op, f"reduces {shape} along {axes}")
    return tuple(1 if axis in axes else side for axis, side in enumerate(shape))


def _clipped(op: Operation, given: list[Shape]) -> Shape:
    op.given(Parameter.Relu6)
    return _one(op, given, rank=0)


def _never(op: Operation, given: list[Shape]) -> Shape:
    raise ValueError(f"operation {op.name!r} is looked at elsewhere")


def _unknown(op: Operation, given: list[Shape]) -> Shape:
    raise CheckpointError(f"operation {op.name!r} makes numbers that are not known before it runs; not run here")


SHAPES: dict[Kind, Callable[[Operation, list[Shape]], Shape]] = {
    Kind.BinaryOp: _combined,
    Kind.Cast: _cast,
    Kind.Concat: _joined,
    Kind.Const: _never,
    Kind.ConvertTensor: _converted,
    Kind.Convolution: _convolved,
    Kind.Input: _input,
    Kind.Interp: _never,
    Kind.Pooling: _pooled,
    Kind.ReLU: _same,
    Kind.ReLU6: _clipped,
    Kind.Reduction: _reduced,
    Kind.Shape: _unknown,
    Kind.Sigmoid: _same,
    Kind.StridedSlice: _unknown,
    Kind.UnaryOp: _of_each,
}
