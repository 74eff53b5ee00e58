"""What ExecuTorch hands to XNNPACK: a header, a graph of tables, and constants behind it or under names elsewhere."""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .flat_tables import Packed, packed
from .xnnpack_schema import (
    EXTERNAL_INPUT,
    EXTERNAL_OUTPUT,
    LAYOUTS,
    NONE,
    NOWHERE,
    ConstantData,
    DataType,
    Graph,
    NodeKind,
    Quantised,
    Value,
)

__all__ = [
    "DTYPES",
    "HEADER",
    "IDENTIFIERS",
    "MAGIC",
    "PER_CHANNEL",
    "PER_TENSOR",
    "Node",
    "Payload",
    "Scales",
    "Tensor",
    "packed_payload",
]

HEADER = struct.Struct("<4x4sHIIIQ")  # magic, its own size, then where the tables and the constants are
MAGIC, IDENTIFIERS = b"XH00", (b"XN00", b"XN01")
ALIGNED = 16
PER_CHANNEL, PER_TENSOR = 1, 2
DTYPES = {
    DataType.fp32: "<f4",
    DataType.fp16: "<f2",
    DataType.qint8: "i1",
    DataType.qint32: "<i4",
    DataType.qcint8: "i1",
    DataType.qcint32: "<i4",
}


@dataclass(frozen=True)
class Scales:
    """Of integers: real = (integer - zero) · scale.

    Attributes:
        axis: along which there is a scale each; None: one for the whole tensor.
    """

    scale: np.ndarray
    zero: int = 0
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """A value of the graph.

    Attributes:
        dtype: a number of `DataType`, or another one that is not read.
        data: of a constant, in its shape; None of what is computed.
    """

    shape: tuple[int, ...]
    dtype: int = DataType.fp32
    data: np.ndarray | None = None
    scales: Scales | None = None

    def real(self) -> np.ndarray | None:
        """A constant's values as float32. Raises ValueError: scales that do not fit."""
        if self.data is None or self.scales is None:
            return None if self.data is None else self.data.astype(np.float32)
        wide = [1] * self.data.ndim
        if self.scales.axis is not None:
            wide[self.scales.axis] = -1
        return (self.data.astype(np.float32) - np.float32(self.scales.zero)) * self.scales.scale.reshape(wide)


@dataclass(frozen=True)
class Node:
    """A node; `fields` are those of its table, ids of values among them (see `LAYOUTS`).

    Attributes:
        bounds: to which its answer is cut: ReLU is (0, inf); None: not at all.
    """

    kind: int
    fields: Mapping[int, Any]
    bounds: tuple[float, float] | None = None

    @property
    def inputs(self) -> tuple[int, ...]:
        """Ids, without those of no value."""
        return tuple(n for place in LAYOUTS[NodeKind(self.kind)].inputs if (n := self.number(place)) != NONE)

    @property
    def output(self) -> int:
        return self.number(LAYOUTS[NodeKind(self.kind)].output)

    def number(self, place: int) -> int:
        return int(self.fields.get(place, 0))


@dataclass(frozen=True)
class Payload:
    """A graph.

    Attributes:
        tensors: by id.
        externals: ids of what it takes and then of what it answers, in the order in which it is called with them.
        taken: how many of these it takes.
    """

    tensors: Mapping[int, Tensor]
    nodes: tuple[Node, ...]
    externals: tuple[int, ...]
    taken: int

    def answering(self, ids: tuple[int, ...]) -> "Payload":
        """The same, which answers these values as well."""
        return replace(self, externals=(*self.externals, *ids))


def packed_payload(payload: Payload) -> tuple[bytes, dict[str, bytes]]:
    """(header and graph, constants by their names, which are what they hash to)."""
    store = _Store()
    places = {n: place for place, n in enumerate(payload.externals)}
    values = [_packed_value(n, tensor, store, places.get(n), payload.taken) for n, tensor in payload.tensors.items()]
    graph = Packed(
        {
            Graph.version: "0",
            Graph.nodes: [_packed_node(index, node) for index, node in enumerate(payload.nodes)],
            Graph.values: values,
            Graph.externals: np.uint32(len(payload.externals)),
            Graph.inputs: np.array(payload.externals[: payload.taken], "<u4"),
            Graph.outputs: np.array(payload.externals[payload.taken :], "<u4"),
            Graph.constants: store.entries,
        }
    )
    tables = packed(graph, IDENTIFIERS[1])
    start = -(-HEADER.size // ALIGNED) * ALIGNED
    end = start + -(-len(tables) // ALIGNED) * ALIGNED
    header = HEADER.pack(MAGIC, HEADER.size, start, len(tables), end, 0)
    return header.ljust(start, b"\0") + bytes(tables).ljust(end - start, b"\0"), store.named


class _Store:
    """Constants by their names, and the graph's list of them; its first entry stands for none."""

    def __init__(self) -> None:
        self.named: dict[str, bytes] = {}
        self.entries = [Packed({ConstantData.key: ""})]

    def add(self, data: np.ndarray, prefix: str = "") -> int:
        content = np.ascontiguousarray(data).tobytes()
        key = prefix + hashlib.sha256(content).hexdigest()
        self.named[key] = content
        at: dict[int, Any] = {ConstantData.offset: np.uint64(NOWHERE), ConstantData.size: np.uint64(len(content))}
        self.entries.append(Packed(at | {ConstantData.key: key}))
        return len(self.entries) - 1


def _packed_value(n: int, tensor: Tensor, store: _Store, place: int | None, taken: int) -> Packed:
    flags = 0 if place is None else EXTERNAL_INPUT if place < taken else EXTERNAL_OUTPUT
    table = Packed(
        {
            Value.datatype: np.int16(tensor.dtype),
            Value.rank: np.uint32(len(tensor.shape)),
            Value.dims: np.array(tensor.shape, "<u4"),
            Value.constant: np.uint32(0 if tensor.data is None else store.add(tensor.data)),
            Value.external: np.uint32(NONE if place is None else place),
            Value.flags: np.uint32(flags),
            Value.id: np.uint32(n),
        }
    )
    scales = tensor.scales
    if scales is None:
        return Packed({0: np.uint8(1), 1: table})
    if scales.axis is None:
        how = Packed({0: float(scales.scale.reshape(-1)[0]), 1: int(scales.zero)})
    else:
        where = np.uint32(store.add(scales.scale.astype("<f4"), "scale_"))
        how = Packed({1: int(scales.axis), 2: where, 3: np.uint32(scales.scale.size)})
    kind = np.uint8(PER_TENSOR if scales.axis is None else PER_CHANNEL)
    return Packed(
        {0: np.uint8(2), 1: Packed({Quantised.value: table, Quantised.kind: kind, Quantised.parameters: how})}
    )


def _packed_node(index: int, node: Node) -> Packed:
    fields = {place: np.uint32(value) if isinstance(value, int) else value for place, value in node.fields.items()}
    table = {0: np.uint8(node.kind), 1: Packed(fields), 2: np.uint32(index)}
    bounds = node.bounds
    return Packed(table if bounds is None else table | {3: Packed({0: float(bounds[0]), 1: float(bounds[1])})})
