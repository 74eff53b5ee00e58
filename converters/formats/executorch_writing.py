"""ExecuTorch's programs, written: one method that calls XNNPACK once, and one that answers what the file says."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .executorch_program import EXTENDED, HEADER, WORDS, XNNPACK
from .executorch_schema import (
    Allocation,
    Call,
    Chain,
    Constants,
    Delegate,
    Instruction,
    Kind,
    Named,
    Plan,
    Program,
    Reference,
    Scalar,
    Segment,
    Tensor,
    Typed,
)
from .flat_tables import Packed, packed
from .xnnpack_payload import Payload, packed_payload

__all__ = ["program_bytes"]

IDENTIFIER = b"ET12"
APART = 128  # bytes, of which segments begin at a multiple
SPARE = 128  # bytes behind each input and output: XNNPACK may read on
LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


def program_bytes(graph: Payload, words: Mapping[str, str] | None = None) -> bytes:
    """The whole file; the same on every machine.

    Args:
        graph: takes and answers float32.
        words: what the file says of itself.
    """
    payload, named = packed_payload(graph)
    shapes = [graph.tensors[n].shape for n in graph.externals]
    blobs = [b"", payload, *named.values()]  # the first one: of constants outside of the delegate, which has none
    places = np.cumsum([0, *(_aligned(len(blob)) for blob in blobs)])
    methods = [_forward(shapes, graph.taken)]
    table = Packed(
        {
            Program.plans: [*methods, _answering(json.dumps(dict(words)))] if words else methods,
            Program.segments: [
                Packed({Segment.offset: np.uint64(place), Segment.size: np.uint64(len(blob))})
                for place, blob in zip(places, blobs, strict=False)
            ],
            Program.constants: Packed({Constants.segment: np.uint32(0), Constants.offsets: np.zeros(1, "<u8")}),
            Program.named: [
                Packed({Named.key: key, Named.segment: np.uint32(n)}) for n, key in enumerate(named, start=2)
            ],
        }
    )
    content = packed(table, IDENTIFIER + bytes(HEADER.size))
    start, length = _aligned(len(content)), int(places[-1])
    content[8 : 8 + HEADER.size] = HEADER.pack(EXTENDED, HEADER.size, len(content), start, length)
    return bytes(content.ljust(start, b"\0")) + b"".join(blob.ljust(_aligned(len(blob)), b"\0") for blob in blobs)


def _aligned(size: int) -> int:
    return -(-size // APART) * APART


def _forward(shapes: Sequence[tuple[int, ...]], taken: int) -> Packed:
    """The method that hands tensors of these shapes to XNNPACK; it takes the first `taken` and answers the others."""
    values, place = [], 0
    for shape in shapes:
        where = Packed({Allocation.memory: np.uint32(1), Allocation.low: np.uint32(place)})
        order = np.arange(len(shape), dtype=np.uint8)
        fields: dict[int, Any] = {Tensor.scalar: np.int8(Scalar.float), Tensor.sizes: np.array(shape, "<i4")}
        tensor = Packed(fields | {Tensor.order: order, Tensor.allocation: where})
        values.append(Packed({Typed.kind: np.uint8(Kind.Tensor), Typed.table: tensor}))
        place += _aligned(4 * int(np.prod(shape)) + SPARE)
    indices = np.arange(len(shapes), dtype="<i4")
    call = Packed({Call.index: 0, Call.arguments: indices})
    step = Packed({Typed.kind: np.uint8(Instruction.delegate), Typed.table: call})
    data = Packed({Reference.location: np.int8(1), Reference.index: np.uint32(1)})
    none = np.zeros(0, "<i4")
    return Packed(
        {
            Plan.called: "forward",
            Plan.containers: _containers(taken, _tuple(len(shapes) - taken)),
            Plan.values: values,
            Plan.inputs: indices[:taken],
            Plan.outputs: indices[taken:],
            Plan.chains: [Packed({Chain.inputs: none, Chain.outputs: none, Chain.instructions: [step]})],
            Plan.operators: [],
            Plan.delegates: [Packed({Delegate.called: XNNPACK, Delegate.data: data, Delegate.specs: []})],
            Plan.memory: np.array([0, place], "<i8"),
        }
    )


def _answering(text: str) -> Packed:
    """The method that answers `text`."""
    value = Packed({Typed.kind: np.uint8(Kind.String), Typed.table: Packed({0: text})})
    none = np.zeros(0, "<i4")
    return Packed(
        {
            Plan.called: WORDS,
            Plan.containers: _containers(0, LEAF),
            Plan.values: [value],
            Plan.inputs: none,
            Plan.outputs: np.zeros(1, "<i4"),
            Plan.chains: [Packed({Chain.inputs: none, Chain.outputs: none, Chain.instructions: []})],
            Plan.operators: [],
            Plan.delegates: [],
            Plan.memory: np.zeros(1, "<i8"),
        }
    )


def _tuple(count: int) -> dict[str, Any]:
    return {"type": "builtins.tuple", "context": "null", "children_spec": [LEAF] * count}


def _containers(taken: int, answer: dict[str, Any]) -> Packed:
    """How Torch writes arguments: a tuple of those by place and a dictionary of those by name; and what is answered."""
    names = {"type": "builtins.dict", "context": "[]", "children_spec": []}
    given = _tuple(0) | {"children_spec": [_tuple(taken), names]}
    return Packed({0: json.dumps([1, given]), 1: json.dumps([1, answer])})
