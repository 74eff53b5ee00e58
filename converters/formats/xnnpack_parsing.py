"""Graphs of XNNPACK inside of programs of any release, parsed with every offset checked; nothing is run."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .flat_tables import Table, root
from .xnnpack_payload import DTYPES, HEADER, IDENTIFIERS, MAGIC, PER_CHANNEL, PER_TENSOR, Node, Payload, Scales, Tensor
from .xnnpack_schema import (
    EXTERNAL_INPUT,
    EXTERNAL_OUTPUT,
    LAYOUTS,
    ConstantData,
    DataType,
    Graph,
    NodeKind,
    Quantised,
    Value,
)

__all__ = ["parsed_payload"]

MOST = 20_000  # nodes or values; the family's largest published networks have some 800
RANK = 6  # at most
LONGEST_NAME = 1024  # bytes
PADDING = 4096  # bytes at most, behind a constant of an old file


def parsed_payload(content: memoryview, named: Mapping[str, memoryview]) -> Payload:
    """The graph of a payload of any release; constants are views of the file.

    Args:
        named: constants of other places by their names; raises ValueError, or KeyError, for those that are nowhere.

    Raises:
        ValueError: damaged, or of another format.
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
        self.entries = graph.tables(Graph.constants, 2 * MOST)
        self.buffers = [] if self.entries else graph.tables(Graph.buffers)

    def payload(self) -> Payload:
        values, nodes = self.graph.tables(Graph.values, MOST), self.graph.tables(Graph.nodes, MOST)
        if not values or not nodes:
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
        if not size <= len(content) <= size + PADDING:
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
            return self.buffers[index].array(0, "u1").data
        if index >= len(self.entries):
            raise ValueError(f"constant {index} of {len(self.entries)}")
        entry = self.entries[index]
        key = entry.text(ConstantData.key, LONGEST_NAME)
        if key:
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
