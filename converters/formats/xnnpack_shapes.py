"""What a graph of XNNPACK makes of its input, worked out before the library gets it.

The library believes what a file says: ids and sizes that do not fit together end its process. So every node of a graph
that is run is one of those below, takes what a node before it makes, and says of its answer what follows from that.
"""

import math
from collections.abc import Callable

import numpy as np

from ..options import LARGEST_SIDE
from .xnnpack_payload import DTYPES, Node, Payload, Tensor
from .xnnpack_schema import LAYOUTS, NONE, Cat, Conv, DataType, NodeKind, Pooling, Resize, Transpose

__all__ = ["check_shapes"]

LARGEST = 1 << 28  # elements of one value
WIDEST = 1 << 12  # of any number of a window
Shape = tuple[int, ...]


def _need(holds: bool, node: Node, what: str) -> None:
    if not holds:
        raise ValueError(f"{NodeKind(node.kind).name} to value {node.output}: {what}")


def check_shapes(payload: Payload) -> None:
    """Raises ValueError: numbers that do not fit, or a kind of node that is not run here."""
    for n, tensor in payload.tensors.items():
        if not 0 < len(tensor.shape) <= 6 or min(tensor.shape) < 1 or math.prod(tensor.shape) > LARGEST:
            raise ValueError(f"value {n} has the shape {tensor.shape}")
        if tensor.dtype not in DTYPES or not _finite(tensor):
            raise ValueError(f"value {n} is of a type, or has scales, that are not run here")
    known = set(payload.externals[: payload.taken]) | {
        n for n, each in payload.tensors.items() if each.data is not None
    }
    for node in payload.nodes:
        if node.kind not in SHAPES:
            kinds = ", ".join(sorted(kind.name for kind in SHAPES))
            raise ValueError(f"a node of kind {NodeKind(node.kind).name} is not run here; those are: {kinds}")
        _need(all(n in known for n in node.inputs), node, "takes what no node before it makes")
        _need(len(node.inputs) == _count(node), node, "lacks an input")
        _need(node.output in payload.tensors and node.output not in known, node, "makes what is there already")
        shape = SHAPES[NodeKind(node.kind)](node, [payload.tensors[n] for n in node.inputs])
        made = payload.tensors[node.output].shape
        _need(tuple(shape) == made, node, f"makes {tuple(shape)}, which the file calls {made}")
        known.add(node.output)
    if any(n not in known for n in payload.externals):
        raise ValueError("answers what no node makes")


def _finite(tensor: Tensor) -> bool:
    scales = tensor.scales
    return scales is None or bool(np.all(np.isfinite(scales.scale)) and np.all(scales.scale > 0))


def _count(node: Node) -> int:
    """How many inputs the kind has; a convolution may have no bias."""
    places = LAYOUTS[NodeKind(node.kind)].inputs
    return len(places) - (Conv.bias in places and node.number(Conv.bias) == NONE and node.kind in CONVOLUTIONS)


def _one(node: Node, given: list[Tensor], rank: int = 4) -> Shape:
    shape = given[0].shape
    _need(given[0].data is None and (not rank or len(shape) == rank), node, f"takes {shape}")
    return shape


def _numbers(node: Node, *places: int) -> list[int]:
    numbers = [node.number(place) for place in places]
    _need(all(1 <= number <= WIDEST for number in numbers), node, f"has the numbers {numbers}")
    return numbers


def _pads(node: Node) -> tuple[int, int]:
    """Of a window: above and below, beside."""
    top, right, bottom, left = (node.number(place) for place in range(4))
    _need(max(top, right, bottom, left) <= WIDEST, node, "is padded too far")
    return top + bottom, left + right


def _windows(node: Node, sides: Shape, sizes: list[int], strides: list[int], steps: list[int]) -> list[int]:
    numbers = zip(sides, _pads(node), sizes, strides, steps, strict=True)
    return [(side + pad - step * (size - 1) - 1) // stride + 1 for side, pad, size, stride, step in numbers]


def _convolved(node: Node, given: list[Tensor]) -> Shape:
    batch, *sides, channels = _one(node, given)
    sizes = _numbers(node, Conv.kernel_height, Conv.kernel_width)
    strides = _numbers(node, Conv.stride_height, Conv.stride_width)
    steps = _numbers(node, Conv.dilation_height, Conv.dilation_width)
    inputs, outputs, groups = _numbers(node, Conv.inputs, Conv.outputs, Conv.groups)
    _need(groups == 1 and inputs == channels, node, f"has a kernel for {inputs} channels in {groups} groups")
    kernel = (1, *sizes, outputs) if node.kind == NodeKind.DepthwiseConv2d else (outputs, *sizes, inputs)
    _need(given[1].data is not None and given[1].shape == kernel, node, f"has not a kernel of shape {kernel}")
    bias = given[2] if len(given) > 2 else None
    _need(bias is None or (bias.data is not None and bias.shape == (outputs,)), node, "has not a bias per channel")
    _need(not node.number(Conv.higher) and not node.number(Conv.wider), node, "is transposed")
    return batch, *_windows(node, tuple(sides), sizes, strides, steps), outputs


def _pooled(node: Node, given: list[Tensor]) -> Shape:
    batch, *sides, channels = _one(node, given)
    sizes = _numbers(node, Pooling.height, Pooling.width)
    strides = _numbers(node, Pooling.stride_height, Pooling.stride_width)
    steps = _numbers(node, Pooling.dilation_height, Pooling.dilation_width)
    _need(all(node.number(place) < size for place, size in zip(range(4), [*sizes, *sizes], strict=True)), node, "pads")
    return batch, *_windows(node, tuple(sides), sizes, strides, steps), channels


def _resized(node: Node, given: list[Tensor]) -> Shape:
    batch, *_, channels = _one(node, given)
    sides = [node.number(place) for place in (Resize.height, Resize.width)]
    _need(all(1 <= side <= LARGEST_SIDE for side in sides), node, f"makes maps of {sides}")
    return batch, *sides, channels


def _joined(node: Node, given: list[Tensor]) -> Shape:
    axis, shapes = node.number(Cat.axis), [each.shape for each in given]
    rank = len(shapes[0])
    _need(axis < rank and all(len(shape) == rank for shape in shapes), node, f"joins {shapes}")
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    _need(len(rest) == 1 and all(each.data is None for each in given), node, f"joins {shapes}")
    return *shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]


def _combined(node: Node, given: list[Tensor]) -> Shape:
    return np.broadcast_shapes(*(each.shape for each in given))


def _same(node: Node, given: list[Tensor]) -> Shape:
    return _one(node, given, rank=0)


def _transposed(node: Node, given: list[Tensor]) -> Shape:
    shape, order = _one(node, given, rank=0), [int(n) for n in node.fields.get(Transpose.order, ())]
    fits = sorted(order) == list(range(len(shape))) and node.number(Transpose.rank) == len(order)
    _need(fits, node, f"puts {shape} in the order {order[:8]}")
    return tuple(shape[axis] for axis in order)


CONVOLUTIONS = (NodeKind.Conv2d, NodeKind.DepthwiseConv2d)
COMBINING = ("Add", "Div", "Minimum", "Multiply", "Subtract", "Maximum")
EACH = ("Sigmoid", "Clamp", "Convert", "Copy", "Abs", "Negate", "Square", "Exp", "Floor", "Ceiling", "Tanh", "Log")
SHAPES: dict[NodeKind, Callable[[Node, list[Tensor]], Shape]] = {
    **{NodeKind[name]: _combined for name in COMBINING},
    **{NodeKind[name]: _same for name in EACH},
    **dict.fromkeys(CONVOLUTIONS, _convolved),
    **{NodeKind[f"Concatenate{n}"]: _joined for n in (2, 3, 4, 5)},
    NodeKind.MaxPooling2d: _pooled,
    NodeKind.StaticResizeBilinear2D: _resized,
    NodeKind.StaticTranspose: _transposed,
}


def float_values(payload: Payload) -> bool:
    """Whether everything that is computed is float32."""
    return all(each.dtype == DataType.fp32 for each in payload.tensors.values() if each.data is None)
