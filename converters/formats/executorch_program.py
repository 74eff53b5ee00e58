"""ExecuTorch's programs (`.pte`): tables, then segments of data; read with every offset checked, nothing is run."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import LARGEST, check_size

from .executorch_schema import (
    Call,
    Chain,
    Constants,
    Delegate,
    FlatTensor,
    Instruction,
    Kind,
    Named,
    Operator,
    Plan,
    Program,
    Reference,
    Segment,
    Tensor,
    Typed,
)
from .flat_tables import Table, root

__all__ = [
    "EXTENDED",
    "HEADER",
    "WORDS",
    "XNNPACK",
    "Method",
    "NamedData",
    "Parsed",
    "Step",
    "as_damage",
    "parsed_program",
]

EXTENDED = b"eh00"
HEADER = struct.Struct("<4sIQQQ")  # magic, its own size, size of the tables, where the segments begin, their size
MOST, METHODS = 20_000, 16  # values, instructions, or data by name; methods
LONGEST_NAME = 1024  # bytes
WORDS = "get_metadata"  # a method that answers what the file says of itself, as JSON
LONGEST = 1 << 16  # bytes of it
XNNPACK = "XnnpackBackend"


def as_damage(error: Exception) -> CheckpointError:
    return CheckpointError(f"damaged or no .pte ({one_line(error)})")


@dataclass(frozen=True)
class Step:
    """A call of a kernel or of a delegate.

    Attributes:
        name: `aten::relu.out`, or a delegate's.
        arguments: indices of values.
        data: what the delegate gets; None of a kernel.
    """

    name: str
    arguments: tuple[int, ...]
    data: memoryview | None = None


class Method:
    """One method of a program: its values and what it does with them."""

    def __init__(self, program: "Parsed", plan: Table):
        self.program, self.name = program, plan.text(Plan.called, LONGEST_NAME)
        self.values = [(value.byte(Typed.kind), value) for value in plan.tables(Plan.values, MOST)]
        self.inputs, self.outputs = (plan.array(place, "<i4").tolist() for place in (Plan.inputs, Plan.outputs))
        if any(not 0 <= n < len(self.values) for n in (*self.inputs, *self.outputs)):
            raise ValueError("an input or output is no value")
        kernels = [_operator(each) for each in plan.tables(Plan.operators, MOST)]
        delegates = [
            (each.text(Delegate.called, LONGEST_NAME), each.table(Delegate.data))
            for each in plan.tables(Plan.delegates, MOST)
        ]
        self.memory = plan.array(Plan.memory, "<i8").tolist()
        self.steps: list[Step] = []
        for chain in plan.tables(Plan.chains, METHODS):
            for instruction in chain.tables(Chain.instructions, MOST):
                self.steps.append(self._step(instruction, kernels, delegates))

    def _step(self, instruction: Table, kernels: list[str], delegates: list[tuple[str, Table]]) -> Step:
        kind = instruction.byte(Typed.kind)
        if kind not in list(Instruction):
            return Step(f"instruction {kind}", ())
        call = instruction.table(Typed.table)
        index, arguments = call.integer(Call.index), tuple(call.array(Call.arguments, "<i4").tolist())
        named = kernels if kind == Instruction.kernel else delegates
        if not 0 <= index < len(named) or any(not 0 <= n < len(self.values) for n in arguments):
            raise ValueError("an instruction names what is not there")
        if kind == Instruction.kernel:
            return Step(kernels[index], arguments)
        name, reference = delegates[index]
        return Step(name, arguments, self.program.delegated(reference))

    def table(self, index: int, kind: Kind) -> Table:
        """A value, which has to be of that kind. Raises ValueError."""
        found, value = self.values[index]
        if found != kind:
            raise ValueError(f"value {index} is no {kind.name}")
        return value.table(Typed.table)

    def kind(self, index: int) -> int:
        return self.values[index][0]

    def shape(self, index: int) -> tuple[int, ...]:
        return tuple(self.table(index, Kind.Tensor).array(Tensor.sizes, "<i4").tolist())

    def integers(self, index: int) -> list[int]:
        """A list of integers; each entry is the index of a value. Empty where it is no list."""
        if self.kind(index) != Kind.IntList:
            return []
        entries = self.table(index, Kind.IntList).array(0, "<i8").tolist()
        if any(not 0 <= n < len(self.values) for n in entries):
            raise ValueError("a list names what is not there")
        return [self.table(n, Kind.Int).long(0) for n in entries]

    def listed(self, index: int) -> list[int]:
        """Indices of the tensors in a list of tensors."""
        entries = self.table(index, Kind.TensorList).array(0, "<i4").tolist()
        if any(not 0 <= n < len(self.values) for n in entries):
            raise ValueError("a list names what is not there")
        return entries


class NamedData(dict[str, memoryview]):
    """Data by their names: a program's own, and those of the `.ptd` files beside it, which are opened when asked for.

    Attributes:
        used: the files of which some were taken.
    """

    def __init__(self, own: dict[str, memoryview], folder: Path | None):
        super().__init__(own)
        self.folder = folder
        self.used: list[Path] = []

    def __missing__(self, key: str) -> memoryview:
        for file in sorted(self.folder.glob("*.ptd")) if self.folder else ():
            if file not in self.used and file.stat().st_size <= LARGEST:
                found = _other_data(file.read_bytes())
                if key in found:
                    self.used.append(file)
                    self.update({name: data for name, data in found.items() if name not in self})
                    return found[key]
        raise ValueError(f"its data {key[:40]!r} are in another file; put that .ptd beside it")


class Parsed:
    """A program.

    Args:
        folder: where the files lie that hold data for it; None: nowhere.

    Attributes:
        named: data by their names.
        words: what the file says of itself; empty where it says nothing.
    """

    def __init__(self, content: bytes, folder: Path | None = None):
        self.content, self.view = content, memoryview(content)
        if not content[4:8].startswith(b"ET") or len(content) < 8 + HEADER.size:
            raise ValueError("its identifier is missing")
        tables, self.behind = self.view, self.view[len(content) :]
        if content[8:12] == EXTENDED:
            _, _, size, start, _ = HEADER.unpack(content[8 : 8 + HEADER.size])
            if size > len(content) or start > len(content):
                raise ValueError("its header leads out of the file")
            tables, self.behind = self.view[:size], self.view[start:]
        self.table = root(tables)
        self.inline = self.table.tables(Program.inline, MOST)
        self.buffers = self.table.tables(Program.buffers, MOST)
        self.segments = [
            (each.long(Segment.offset), each.long(Segment.size))
            for each in self.table.tables(Program.segments, 2 * MOST)
        ]
        self.named = NamedData(self._named(self.table.tables(Program.named, MOST)), folder)
        self.methods = {
            method.name: method for method in (Method(self, p) for p in self.table.tables(Program.plans, METHODS))
        }
        if not self.methods:
            raise ValueError("it has no method")
        self.words = self._words()

    def segment(self, index: int) -> memoryview:
        if not 0 <= index < len(self.segments):
            raise ValueError(f"segment {index} of {len(self.segments)}")
        return _cut(self.behind, *self.segments[index])

    def _named(self, entries: list[Table]) -> dict[str, memoryview]:
        return {each.text(Named.key, LONGEST_NAME): self.segment(each.integer(Named.segment)) for each in entries}

    def delegated(self, reference: Table) -> memoryview:
        index = reference.integer(Reference.index)
        if reference.byte(Reference.location):
            return self.segment(index)
        if not 0 <= index < len(self.inline):
            raise ValueError(f"data {index} of {len(self.inline)} delegates")
        return self.inline[index].array(0, "u1").data

    def constant(self, index: int, size: int) -> memoryview:
        """`size` bytes of the constants' segment, or of the tables themselves in old files."""
        if Program.constants in self.table:
            table = self.table.table(Program.constants)
            offsets = table.array(Constants.offsets, "<u8")
            if not 0 < index < len(offsets):
                raise ValueError(f"constant {index} of {len(offsets)}")
            return _cut(self.segment(table.integer(Constants.segment)), int(offsets[index]), size)
        if not 0 < index < len(self.buffers):
            raise ValueError(f"constant {index} of {len(self.buffers)}")
        return _cut(self.buffers[index].array(0, "u1").data, 0, size)

    @property
    def method(self) -> Method:
        """The one that is the network: `forward`, or the only one with an input."""
        found = [self.methods["forward"]] if "forward" in self.methods else list(self.methods.values())
        taking = [method for method in found if method.inputs]
        if len(taking) != 1:
            names = ", ".join(self.methods)
            raise ValueError(f"which method is the network is not clear: {names[:200]}")
        return taking[0]

    def _words(self) -> dict[str, str]:
        method = self.methods.get(WORDS)
        if method is None or len(method.outputs) != 1 or method.kind(method.outputs[0]) != Kind.String:
            return {}
        text = method.table(method.outputs[0], Kind.String).text(0)
        try:
            found = json.loads(text) if len(text) <= LONGEST else {}
        except (ValueError, RecursionError):
            return {}
        return {str(k): v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def parsed_program(path: Path) -> Parsed:
    """The program of a file. Raises CheckpointError: damaged, or too large."""
    check_size(path.stat().st_size, "the file")
    try:
        return Parsed(path.read_bytes(), path.parent)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError, struct.error) as error:
        raise as_damage(error) from None


def _other_data(content: bytes) -> dict[str, memoryview]:
    """What a `.ptd` file holds, by name; nothing of a file of another kind."""
    view = memoryview(content)
    if content[4:8] != b"FT01" or content[8:12] != b"FH01" or len(content) < 48:
        return {}
    tables, size, start, length = struct.unpack_from("<QQQQ", content, 16)
    if tables + size > len(content) or start + length > len(content):
        raise ValueError("the .ptd beside it leads out of itself")
    table = root(view[: tables + size])
    segments = [(each.long(0), each.long(1)) for each in table.tables(FlatTensor.segments, MOST)]
    found = {}
    for entry in table.tables(FlatTensor.named, MOST):
        index = entry.integer(1)
        if not 0 <= index < len(segments):
            raise ValueError(f"segment {index} of {len(segments)} of the .ptd beside it")
        found[entry.text(0, LONGEST_NAME)] = _cut(view[start : start + length], *segments[index])
    return found


def _cut(view: memoryview, start: int, size: int) -> memoryview:
    if not 0 <= start <= start + size <= len(view):
        raise ValueError(f"bytes {start} to {start + size} of {len(view)}")
    return view[start : start + size]


def _operator(table: Table) -> str:
    name, overload = table.text(Operator.called, LONGEST_NAME), table.text(Operator.overload, LONGEST_NAME)
    return f"{name}.{overload}" if overload else name
