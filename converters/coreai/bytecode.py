"""MLIR bytecode, version 6: sections, strings, and the tree of operations, as far as a program needs them.

A file is the magic `ML\\xefR`, a version, a producer's name, and sections: strings, dialects with the names of their
operations, attributes and types (each a run of bytes in its dialect's own encoding), the operations, resources (the
large arrays), properties of operations. Numbers are of variable length: the count of low zero bits of the first byte
says how many bytes follow it.

Read here, byte by byte with every bound checked, and not by MLIR, which takes an hour to build, is there for few
systems, and ends its process where a file is damaged. Source: "MLIR Bytecode Format" of MLIR's documentation.
"""

from dataclasses import dataclass, field

from u2net_zoo.errors import ArtifactError

__all__ = ["Bytecode", "Cursor", "Node", "Region"]

MAGIC = b"ML\xefR"
VERSIONS = (5, 6)
STRINGS, DIALECTS, ATTRIBUTES, OFFSETS, OPERATIONS, RESOURCES, RESOURCE_OFFSETS, _, PROPERTIES = range(9)
PADDING = 0xCB
BLOB = 0  # a kind of resource
DEEPEST = 64  # regions inside of regions
HAS_ATTRIBUTES, HAS_RESULTS, HAS_OPERANDS, HAS_SUCCESSORS, HAS_REGIONS, HAS_ORDERS, HAS_PROPERTIES = (
    1 << n for n in range(7)
)


class Cursor:
    """A place in bytes. Raises ArtifactError where they end too early."""

    def __init__(self, data: memoryview, at: int = 0):
        self.data, self.at = data, at

    @property
    def ended(self) -> bool:
        return self.at >= len(self.data)

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise ArtifactError("truncated: a number is missing")
        self.at += 1
        return self.data[self.at - 1]

    def take(self, size: int) -> memoryview:
        if size > len(self.data) - self.at:
            raise ArtifactError(f"truncated: {size} bytes are said to follow, {len(self.data) - self.at} do")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self) -> int:
        """At most 64 bits."""
        first = self.byte()
        if first & 1:
            return first >> 1
        if not first:
            return int.from_bytes(self.take(8), "little")
        more = (first & -first).bit_length() - 1
        return int.from_bytes(bytes([first]) + bytes(self.take(more)), "little") >> (more + 1)

    def signed(self) -> int:
        """Zigzag: 0, -1, 1, -2 …"""
        value = self.number()
        return (value >> 1) ^ -(value & 1)

    def flagged(self) -> tuple[int, bool]:
        value = self.number()
        return value >> 1, bool(value & 1)

    def count(self, least: int = 1) -> int:
        """How many entries of at least that many bytes follow."""
        value = self.number()
        if value * least > len(self.data) - self.at:
            raise ArtifactError(f"truncated: {value} entries are said to follow, {len(self.data) - self.at} bytes do")
        return value

    def section(self) -> tuple[int, memoryview]:
        kind = self.byte()
        size = self.number()
        if kind & 128:
            self.align(self.number())
        return kind & 127, self.take(size)

    def align(self, step: int) -> None:
        while step > 1 and self.at % step:
            if self.byte() != PADDING:
                raise ArtifactError("bytes between two sections are not its padding")


@dataclass(frozen=True)
class Node:
    """One operation, as it is stored.

    Attributes:
        kind: its name without the dialect, such as `primitive.conv2d_v1`.
        location: index of the attribute that says where it comes from.
        properties: bytes of what it is made with, in its own encoding.
        results: indices of the types of what it makes; the values are numbered from `first` on.
        operands: numbers of the values that it takes.
    """

    kind: str
    location: int
    properties: memoryview
    first: int
    results: tuple[int, ...]
    operands: tuple[int, ...]
    regions: tuple["Region", ...] = ()


@dataclass
class Region:
    """A region of one block: its arguments are numbered from `first` on."""

    first: int
    arguments: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)


class Bytecode:
    """A parsed file.

    Attributes:
        strings: all text of the file.
        versions: dialect -> the bytes that say its version.
        encoded: attributes, and after these types: (dialect, whether in its own encoding, bytes).
        attributes: how many of them are attributes.
        nodes: operations at the top.
        resources: large arrays, in the file's order.

    Raises:
        ArtifactError: it is damaged, or of another version.
    """

    def __init__(self, content: bytes):
        cursor = Cursor(memoryview(content))
        if bytes(content[:4]) != MAGIC:
            raise ArtifactError("is no MLIR bytecode")
        cursor.take(4)
        version = cursor.number()
        if version not in VERSIONS:
            raise ArtifactError(f"MLIR bytecode of version {version}; read are {VERSIONS[0]} to {VERSIONS[-1]}")
        while cursor.byte():  # the producer's name
            pass
        found: dict[int, memoryview] = {}
        while not cursor.ended:
            kind, data = cursor.section()
            found[kind] = data
        missing = {STRINGS, DIALECTS, ATTRIBUTES, OFFSETS, OPERATIONS} - found.keys()
        if missing:
            raise ArtifactError(f"truncated: section {min(missing)} is missing")
        self.strings = self._strings(Cursor(found[STRINGS]))
        self.versions: dict[str, bytes] = {}
        self.kinds = self._kinds(Cursor(found[DIALECTS]))
        self.encoded, self.attributes = self._entries(Cursor(found[OFFSETS]), Cursor(found[ATTRIBUTES]))
        self.properties = self._properties(Cursor(found.get(PROPERTIES, memoryview(b"\x01"))))
        self.resources = self._resources(
            Cursor(found.get(RESOURCE_OFFSETS, memoryview(b""))), Cursor(found.get(RESOURCES, memoryview(b"")))
        )
        self.nodes = self._block(Cursor(found[OPERATIONS]), 0, 0, 0).nodes

    def resource(self, index: int) -> memoryview:
        if index >= len(self.resources):
            raise ArtifactError(f"resource {index} of {len(self.resources)}")
        return self.resources[index]

    def string(self, index: int) -> str:
        if index >= len(self.strings):
            raise ArtifactError(f"string {index} of {len(self.strings)}")
        return self.strings[index]

    def _strings(self, cursor: Cursor) -> list[str]:
        sizes = [cursor.number() for _ in range(cursor.count())][::-1]
        return [bytes(cursor.take(size)).rstrip(b"\0").decode("utf-8", "replace") for size in sizes]

    def _kinds(self, cursor: Cursor) -> list[tuple[str, str]]:
        dialects = []
        for _ in range(cursor.count()):
            name, versioned = cursor.flagged()
            dialects.append(self.string(name))
            if versioned:
                self.versions[dialects[-1]] = bytes(cursor.section()[1])
        self.dialects = dialects
        kinds: list[tuple[str, str]] = []
        if not cursor.ended:
            cursor.number()  # how many there are in all
        while not cursor.ended:
            dialect = self._dialect(cursor.number())
            kinds.extend((dialect, self.string(cursor.flagged()[0])) for _ in range(cursor.count()))
        return kinds

    def _dialect(self, index: int) -> str:
        if index >= len(self.dialects):
            raise ArtifactError(f"dialect {index} of {len(self.dialects)}")
        return self.dialects[index]

    def _entries(self, sizes: Cursor, data: Cursor) -> tuple[list[tuple[str, bool, memoryview]], int]:
        attributes, types = sizes.number(), sizes.number()
        entries: list[tuple[str, bool, memoryview]] = []
        while len(entries) < attributes + types:
            dialect = self._dialect(sizes.number())
            for _ in range(sizes.count()):
                size, own = sizes.flagged()
                entries.append((dialect, own, data.take(size)))
        return entries, attributes

    def _properties(self, cursor: Cursor) -> list[memoryview]:
        return [cursor.take(cursor.number()) for _ in range(cursor.count())]

    def _resources(self, sizes: Cursor, data: Cursor) -> list[memoryview]:
        """Groups of other tools first, whose entries have the same form."""
        found: list[memoryview] = []
        if not sizes.ended:
            sizes.number()
        while not sizes.ended:
            sizes.number()
            for _ in range(sizes.count(3)):
                _, size, kind = sizes.number(), sizes.number(), sizes.byte()
                entry = Cursor(data.data[: data.at + size], data.at)
                data.take(size)
                if kind != BLOB:
                    raise ArtifactError("a resource that is no array of bytes")
                step, length = entry.number(), entry.number()
                entry.align(step)
                found.append(entry.take(length))
        return found

    def _region(self, cursor: Cursor, values: int, depth: int) -> tuple[Region, ...]:
        count, isolated = cursor.flagged()
        if depth > DEEPEST:
            raise ArtifactError(f"regions are nested more than {DEEPEST} deep")
        if isolated:
            cursor, values = Cursor(cursor.section()[1]), 0
        return tuple(self._one_region(cursor, values, depth) for _ in range(count))

    def _one_region(self, cursor: Cursor, values: int, depth: int) -> Region:
        blocks = cursor.number()
        if blocks != 1:
            raise ArtifactError(f"a region of {blocks} blocks; read are those of one, without control flow")
        last = values + cursor.number()
        return self._block(cursor, values, last, depth)

    def _block(self, cursor: Cursor, first: int, last: int, depth: int) -> Region:
        """One block, whose own values have the numbers `first` to `last`."""
        count, arguments = cursor.flagged()
        types: list[int] = []
        if arguments:
            for _ in range(cursor.count()):
                kind, located = cursor.flagged()
                types.append(kind)
                if located:
                    cursor.number()
            if cursor.byte():
                _skip_orders(cursor, len(types))
        region = Region(first, tuple(types))
        free = first + len(types)
        for _ in range(count):
            node = self._node(cursor, free, last, depth)
            free += len(node.results)
            region.nodes.append(node)
        if free > last:
            raise ArtifactError(f"{free - first} values where {last - first} are said to be")
        return region

    def _node(self, cursor: Cursor, free: int, last: int, depth: int) -> Node:
        kind, mask, location = cursor.number(), cursor.byte(), cursor.number()
        if kind >= len(self.kinds):
            raise ArtifactError(f"operation {kind} of {len(self.kinds)}")
        if mask & HAS_ATTRIBUTES:
            cursor.number()
        properties = memoryview(b"")
        if mask & HAS_PROPERTIES:
            index = cursor.number()
            if index >= len(self.properties):
                raise ArtifactError(f"properties {index} of {len(self.properties)}")
            properties = self.properties[index]
        results = tuple(cursor.number() for _ in range(cursor.count() if mask & HAS_RESULTS else 0))
        operands = tuple(cursor.number() for _ in range(cursor.count() if mask & HAS_OPERANDS else 0))
        if mask & HAS_SUCCESSORS:
            raise ArtifactError("control flow is not supported")
        if mask & HAS_ORDERS:
            _skip_orders(cursor, len(results))
        regions = self._region(cursor, last, depth + 1) if mask & HAS_REGIONS else ()
        return Node(self.kinds[kind][1], location, properties, free, results, operands, regions)


def _skip_orders(cursor: Cursor, values: int) -> None:
    """In which order the uses of values stood in memory."""
    for _ in range(cursor.count() if values > 1 else 1):
        if values > 1:
            cursor.number()
        for _ in range(cursor.flagged()[0]):
            cursor.number()
