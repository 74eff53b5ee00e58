"""ONNX as bytes: its messages in Protocol Buffers' wire format, without a package that knows them.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3, the encoding is that of
https://protobuf.dev/programming-guides/encoding. The same graph gives the same bytes on every machine.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["FLOAT", "UINT8", "Graph", "Node", "Tensor", "model"]

FLOAT, UINT8 = 1, 2  # TensorProto.DataType
TYPES = {np.dtype("<f4"): FLOAT, np.dtype("u1"): UINT8, np.dtype("<i8"): 7}
FIXED32, BYTES, VARINT = 5, 2, 0  # wire types
Attribute = int | float | str | Sequence[int]


@dataclass(frozen=True)
class Node:
    """One operation; `name` is unique in its graph."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Tensor:
    """What goes into a graph or comes out: the sizes of its axes, a name where one is free."""

    name: str
    kind: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """A network: nodes in an order in which they can run, constants by name."""

    name: str
    nodes: Sequence[Node]
    constants: Mapping[str, np.ndarray]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


def model(graph: Graph, *, opset: int, ir_version: int, metadata: Mapping[str, str]) -> bytes:
    """A ModelProto."""
    parts = [
        _number(1, ir_version),
        _text(2, "u2net-zoo"),
        _message(7, _graph(graph)),
        _message(8, [_number(2, opset)]),
    ]
    return b"".join([*parts, *(_message(14, [_text(1, key), _text(2, metadata[key])]) for key in metadata)])


def _graph(graph: Graph) -> Iterable[bytes]:
    yield from (_message(1, _node(node)) for node in graph.nodes)
    yield _text(2, graph.name)
    yield from (_message(5, _constant(name, value)) for name, value in graph.constants.items())
    yield from (_message(11, _tensor(tensor)) for tensor in graph.inputs)
    yield from (_message(12, _tensor(tensor)) for tensor in graph.outputs)


def _node(node: Node) -> Iterable[bytes]:
    yield from (_text(1, name) for name in node.inputs)
    yield from (_text(2, node.output), _text(3, node.name), _text(4, node.kind))
    yield from (_message(5, [_text(1, name), *_attribute(value)]) for name, value in node.attributes.items())


def _attribute(value: Attribute) -> Iterable[bytes]:
    if isinstance(value, str):
        return _text(4, value), _number(20, 3)
    if isinstance(value, float):
        return _key(2, FIXED32) + struct.pack("<f", value), _number(20, 1)
    if isinstance(value, int):
        return _number(3, value), _number(20, 2)
    return *(_number(8, item) for item in value), _number(20, 7)


def _constant(name: str, value: np.ndarray) -> Iterable[bytes]:
    array = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    yield from (_number(1, side) for side in value.shape)
    yield from (_number(2, TYPES[array.dtype]), _text(8, name), _bytes(9, array.tobytes()))


def _tensor(tensor: Tensor) -> Iterable[bytes]:
    sides = (_text(2, side) if isinstance(side, str) else _number(1, side) for side in tensor.shape)
    shape = _message(2, (_message(1, [side]) for side in sides))
    return _text(1, tensor.name), _message(2, [_message(1, [_number(1, tensor.kind), shape])])


def _message(field: int, parts: Iterable[bytes]) -> bytes:
    return _bytes(field, b"".join(parts))


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _key(field, VARINT) + _varint(value)


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
