"""ExecuTorch's programs of any maker -> Checkpoint: graphs inside of XNNPACK's delegates, and kernels beside them.

Parsed here, with every offset checked; nothing is handed to the runtime.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import check_size

from .executorch_kernels import kernel_nodes
from .executorch_program import XNNPACK, Method, Parsed, parsed_program
from .other_activations import clamp
from .weight_graph import Affine, Conv, Graph, Node, beside_constant
from .xnnpack_parsing import parsed_payload
from .xnnpack_payload import Node as XnnNode
from .xnnpack_payload import Payload, Tensor
from .xnnpack_schema import Conv as Place
from .xnnpack_schema import DataType, NodeKind

__all__ = ["DAMAGE", "delegate_graph", "graph_of", "read"]

DAMAGE = (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError, struct.error)
CONVOLUTIONS = (NodeKind.Conv2d, NodeKind.DepthwiseConv2d)
MOVING = (NodeKind.StaticTranspose, NodeKind.Convert, NodeKind.Copy, NodeKind.StaticReshape)
INTEGERS = {DataType.qint8: "int8 per tensor", DataType.qcint8: "int8 per channel"}


def read(path: Path) -> Checkpoint:
    """By the graph; integer weights are dequantised. Raises CheckpointError: damaged, or no U²-Net."""
    program = parsed_program(path)
    try:
        return graph_of(program).checkpoint(program.words)
    except DAMAGE as error:
        raise CheckpointError(f"damaged .pte ({one_line(error)})") from None


def graph_of(program: Parsed) -> Graph:
    """The network's graph. Values are named after the program's, those inside of a delegate after its call too."""
    method = program.method
    nodes, weights = [], 0
    for call in range(len(method.steps)):
        for node in _nodes(program, method, call):
            weights += node.role.kernel.size if isinstance(node.role, Conv) else 0
            check_size(4 * weights, "its weights together")
            nodes.append(node)
    return Graph(nodes, [str(n) for n in method.outputs])


def _nodes(program: Parsed, method: Method, call: int) -> Iterator[Node]:
    step = method.steps[call]
    if step.data is None:
        yield from kernel_nodes(program, method, step)
        return
    if step.name != XNNPACK:
        raise CheckpointError(f"its layers are inside of the delegate {step.name}; read are those of {XNNPACK}")
    payload = parsed_payload(step.data, program.named)
    if len(step.arguments) != len(payload.externals):
        raise ValueError(f"{len(step.arguments)} arguments for a graph of {len(payload.externals)}")
    outside = {n: str(argument) for n, argument in zip(payload.externals, step.arguments, strict=True)}
    yield from delegate_graph(payload, outside, f"{call}.")


def delegate_graph(payload: Payload, outside: Mapping[int, str], inside: str) -> Iterator[Node]:
    """The nodes of a delegate's graph.

    Args:
        outside: names of the values that it takes and answers.
        inside: what the names of all others begin with.
    """
    names = {n: outside.get(n, f"{inside}{n}") for n in payload.tensors}
    for node in payload.nodes:
        if any(n not in names for n in (*node.inputs, node.output)):
            raise ValueError("a node names a value that is not there")
        role, inputs = _role(node, payload.tensors)
        bounded = f"{names[node.output]}.bounded"
        made = names[node.output]
        kind = "Identity" if node.kind in MOVING else NodeKind(node.kind).name
        cut = clamp(*node.bounds) if node.bounds is not None else "Identity"
        if node.kind == NodeKind.Clamp:
            yield Node(cut, tuple(names[n] for n in inputs), (made,), role)
        elif cut != "Identity" and isinstance(role, Conv | Affine):
            yield Node(kind, tuple(names[n] for n in inputs), (bounded,), role)
            yield Node(cut, (bounded,), (made,))
        else:
            yield Node(kind, tuple(names[n] for n in inputs), (made,), role)


def _role(node: XnnNode, tensors: Mapping[int, Tensor]) -> tuple[Conv | Affine | None, tuple[int, ...]]:
    """What a node does to weights, and the ids of what it takes that is computed."""
    if node.kind in CONVOLUTIONS:
        return _convolution(node, tensors), (node.number(Place.x),)
    if node.kind in (NodeKind.Add, NodeKind.Multiply) and len(node.inputs) == 2:
        values = [_channels_first(tensors[n]) for n in node.inputs]
        names = tuple(str(n) for n in node.inputs)
        role, left = beside_constant(names, values, product=node.kind == NodeKind.Multiply)
        return role, tuple(int(n) for n in left)
    return None, node.inputs


def _channels_first(tensor: Tensor) -> np.ndarray | None:
    """A constant beside a map whose channels are last, as it stands beside one whose channels are first."""
    value = tensor.real()
    if value is None or value.size == 1:
        return value if value is None else value.reshape(())
    return value.reshape(-1, 1, 1) if value.shape[-1] == value.size else np.moveaxis(value, -1, -3)


def _convolution(node: XnnNode, tensors: Mapping[int, Tensor]) -> Conv | None:
    kernel = tensors[node.number(Place.filter)]
    check_size(4 * math.prod(kernel.shape), "a kernel")
    bias = tensors[node.number(Place.bias)].real() if node.number(Place.bias) in tensors else None
    values = kernel.real()
    if values is None or values.ndim != 4:
        return None
    # (O, h, w, I); of each channel by itself (1, h, w, O), which are the kernels of one channel that comes in too.
    depthwise = node.kind == NodeKind.DepthwiseConv2d
    values = values.transpose(3, 0, 1, 2) if depthwise else values.transpose(0, 3, 1, 2)
    if node.number(Place.groups) != 1:
        raise CheckpointError("not a U²-Net: it has convolutions in groups")
    dilation = max(node.number(Place.dilation_height), node.number(Place.dilation_width))
    return Conv(values, bias, INTEGERS.get(DataType(kernel.dtype), ""), dilation)
