"""What ExecuTorch hands to XNNPACK: a header, a graph of tables, and constants behind it or under names elsewhere."""

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .flat_tables import Packed, Table, packed, root
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

__all__ = ["DTYPES", "Node", "Payload", "Scales", "Tensor", "packed_payload", "parsed_payload"]

HEADER = struct.Struct("<4x4sHIIIQ")  # magic, its own size, then where the tables and the constants are
MAGIC, IDENTIFIERS = b"XH00", (b"XN00", b"XN01")
ALIGNED = 16
MOST = 20_000  # nodes or values; the family's largest published networks have some 800
RANK = 6  # at most
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
    names: Mapping[int, str] = field(default_factory=dict, compare=False)

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


def parsed_payload(content: memoryview, named: Mapping[str, memoryview]) -> Payload:
    """The graph of a payload of any release; constants are views of the file.

    Raises:
        ValueError: damaged, of another format, or constants that are nowhere.
    """
    constants = content[len(content) :]
    if bytes(content[4:8]) == MAGIC:
        _, size, start, length, behind, more = HEADER.unpack(content[: HEADER.size])
        if size < HEADER.size or start + length > len(content) or behind + more > len(content):
            raise ValueError("XNNPACK's header leads out of its data")
        content, constants = content[start : start + length], content[behind : behind + more]
    if bytes(content[4:8]) not in IDENTIFIERS:
        raise ValueError("no graph of XNNPACK")
    return _Parser(root(content), constants, named).payload()


class _Parser:
    def __init__(self, graph: Table, constants: memoryview, named: Mapping[str, memoryview]):
        self.graph, self.behind, self.named = graph, constants, named
        self.entries = graph.tables(Graph.constants) if Graph.constants in graph else []
        self.buffers = [] if self.entries else graph.tables(Graph.buffers)

    def payload(self) -> Payload:
        values, nodes = self.graph.tables(Graph.values), self.graph.tables(Graph.nodes)
        if not 0 < len(values) <= MOST or not 0 < len(nodes) <= MOST:
            raise ValueError(f"a graph of {len(nodes)} nodes and {len(values)} values")
        tensors: dict[int, Tensor] = {}
        places: dict[int, int] = {}
        for value in values:
            table = value.table(1) if value.byte(0) == 1 else value.table(1).table(Quantised.value)
            n, flags = table.unsigned(Value.id), table.unsigned(Value.flags)
            if n in tensors or value.byte(0) not in (1, 2):
                raise ValueError(f"value {n} is there twice, or of an unknown kind")
            tensors[n] = self.tensor(table, value.table(1) if value.byte(0) == 2 else None)
            if flags & (EXTERNAL_INPUT | EXTERNAL_OUTPUT):
                place = table.unsigned(Value.external)
                if place in places:
                    raise ValueError(f"two values are the graph's number {place}")
                places[place] = n
        taken = self.graph.array(Graph.inputs, "<u4").tolist()
        externals = (*taken, *self.graph.array(Graph.outputs, "<u4").tolist())
        if [places.get(place) for place in range(len(externals))] != list(externals) or len(places) != len(externals):
            raise ValueError("what the graph takes and answers does not fit its values")
        if self.graph.unsigned(Graph.externals) != len(externals):
            raise ValueError("the graph counts what it takes and answers wrongly")
        return Payload(tensors, tuple(_node(node) for node in nodes), externals, len(taken))

    def tensor(self, table: Table, quantised: Table | None) -> Tensor:
        shape = tuple(table.array(Value.dims, "<u4").tolist())
        if len(shape) > RANK or len(shape) != table.unsigned(Value.rank):
            raise ValueError(f"a value of shape {shape[:RANK]} …")
        dtype = table.short(Value.datatype)
        scales = self.scales(quantised) if quantised is not None else None
        if scales is not None and scales.axis is not None and not 0 <= scales.axis < len(shape):
            raise ValueError(f"scales along axis {scales.axis} of {shape}")
        if scales is not None and scales.axis is not None and scales.scale.size != shape[scales.axis]:
            raise ValueError(f"{scales.scale.size} scales for {shape}")
        constant = table.unsigned(Value.constant)
        if not constant:
            return Tensor(shape, dtype, None, scales)
        if dtype not in DTYPES:
            raise ValueError(f"constants of XNNPACK's type {dtype}; read are float32, float16 and int8")
        kind = np.dtype(DTYPES[DataType(dtype)])
        content = self.constant(constant)
        size = math.prod(shape) * kind.itemsize
        if not size <= len(content) <= size + 4096:  # old files have padding there
            raise ValueError(f"{len(content)} bytes for a constant of shape {shape}")
        return Tensor(shape, dtype, np.frombuffer(content[:size], kind).reshape(shape), scales)

    def scales(self, quantised: Table) -> Scales:
        how, kind = quantised.table(Quantised.parameters), quantised.byte(Quantised.kind)
        if kind == PER_TENSOR:
            return Scales(np.array([how.real(0)], np.float32), how.integer(1))
        if kind != PER_CHANNEL:
            raise ValueError("integers with scales per group or per call are not read")
        found = how.array(0, "<f4")
        if not found.size:  # newer files have them among the constants
            found = np.frombuffer(self.constant(how.unsigned(2))[: 4 * how.unsigned(3)], "<f4")
        return Scales(found, 0, how.integer(1))

    def constant(self, index: int) -> memoryview:
        if self.buffers:
            if index >= len(self.buffers):
                raise ValueError(f"constant {index} of {len(self.buffers)}")
            return memoryview(self.buffers[index].array(0, "u1").tobytes())
        if index >= len(self.entries):
            raise ValueError(f"constant {index} of {len(self.entries)}")
        entry = self.entries[index]
        key = entry.text(ConstantData.key)
        if key:
            if key not in self.named:
                raise ValueError(f"its data {key[:16]!r} are in another file; put that .ptd beside it")
            content = self.named[key]
            size = entry.long(ConstantData.size)
            return content[:size] if size <= len(content) else content
        offset, size = entry.long(ConstantData.offset), entry.long(ConstantData.size)
        if offset + size > len(self.behind):
            raise ValueError(f"a constant at bytes {offset} to {offset + size} of {len(self.behind)}")
        return self.behind[offset : offset + size]


def _node(node: Table) -> Node:
    kind = node.byte(0)
    if kind not in list(NodeKind):
        raise ValueError(f"a node of XNNPACK's kind {kind}, which is not read")
    table, layout = node.table(1), LAYOUTS[NodeKind(kind)]
    fields: dict[int, Any] = {}
    for place in table.fields:
        if place in layout.lists:
            fields[place] = table.array(place, "<u4")
        else:
            fields[place] = table.real(place) if place in layout.reals else table.unsigned(place)
    bounds = (node.table(3).real(0), node.table(3).real(1)) if 3 in node else None
    return Node(kind, fields, bounds)
