"""FlatBuffers without a schema compiler: tables by the numbers of their fields, read with every offset checked.

Source of the layout: FlatBuffers' documentation, "FlatBuffer Internals".
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Aligned", "Packed", "Table", "packed", "root"]

LONGEST_TEXT = 1 << 20  # bytes
ALIGNMENT = 16  # bytes, of `Aligned`
MOST_TABLES = 1 << 16  # of one list: entries may lead to the same table, so a file need not be large for many


class Table:
    """A table of a file; fields that it lacks have the value `default`.

    Raises:
        ValueError: an offset or a length that leads out of the file. So do all methods.
    """

    def __init__(self, content: memoryview, place: int):
        self.content, self.place = content, place
        start = place - self._number("<i", place)
        size = self._number("<H", start)
        if size < 4 or size % 2:
            raise ValueError(f"a table of fields of {size} bytes")
        fields = np.frombuffer(self._bytes(start + 4, size - 4), "<u2")
        self.fields = {number: place + int(offset) for number, offset in enumerate(fields) if offset}

    def __contains__(self, field: int) -> bool:
        return field in self.fields

    def integer(self, field: int, default: int = 0) -> int:
        return int(self._scalar("<i", field, default))

    def byte(self, field: int, default: int = 0) -> int:
        return int(self._scalar("<b", field, default))

    def flag(self, field: int) -> bool:
        return bool(self.byte(field))

    def unsigned(self, field: int, default: int = 0) -> int:
        return int(self._scalar("<I", field, default))

    def short(self, field: int, default: int = 0) -> int:
        return int(self._scalar("<h", field, default))

    def long(self, field: int, default: int = 0) -> int:
        """Of 64 bits without a sign."""
        return int(self._scalar("<Q", field, default))

    def signed(self, field: int, default: int = 0) -> int:
        """Of 64 bits."""
        return int(self._scalar("<q", field, default))

    def real(self, field: int, default: float = 0.0) -> float:
        return self._scalar("<f", field, default)

    def double(self, field: int, default: float = 0.0) -> float:
        return self._scalar("<d", field, default)

    def text(self, field: int, longest: int = LONGEST_TEXT) -> str:
        return self._text(self._target(self.fields[field]), longest) if field in self.fields else ""

    def texts(self, field: int) -> list[str]:
        return [self._text(self._target(place)) for place in self._places(field)]

    def table(self, field: int) -> "Table":
        """Raises ValueError where there is none."""
        if field not in self.fields:
            raise ValueError(f"field {field} is missing")
        return Table(self.content, self._target(self.fields[field]))

    def tables(self, field: int, most: int = MOST_TABLES) -> list["Table"]:
        """Raises ValueError where there are more than `most`."""
        places = self._places(field)
        if len(places) > most:
            raise ValueError(f"a list of {len(places)} tables")
        return [Table(self.content, self._target(place)) for place in places]

    def array(self, field: int, dtype: str) -> np.ndarray:
        """A list of numbers, in the file's own memory; empty where there is none."""
        kind = np.dtype(dtype)
        if field not in self.fields:
            return np.empty(0, kind)
        place, count = self._list(field)
        return np.frombuffer(self._bytes(place, count * kind.itemsize), kind)

    def _scalar(self, kind: str, field: int, default: float) -> float:
        return self._number(kind, self.fields[field]) if field in self.fields else default

    def _places(self, field: int) -> Sequence[int]:
        """Of the offsets in a list."""
        if field not in self.fields:
            return ()
        place, count = self._list(field)
        self._bytes(place, 4 * count)
        return range(place, place + 4 * count, 4)

    def _list(self, field: int) -> tuple[int, int]:
        """(place of its first entry, count)."""
        place = self._target(self.fields[field])
        return place + 4, self._number("<I", place)

    def _target(self, place: int) -> int:
        return place + self._number("<I", place)

    def _text(self, place: int, longest: int = LONGEST_TEXT) -> str:
        size = self._number("<I", place)
        if size > longest:
            raise ValueError(f"a text of {size} bytes")
        return bytes(self._bytes(place + 4, size)).decode()

    def _number(self, kind: str, place: int) -> Any:
        return struct.unpack(kind, self._bytes(place, struct.calcsize(kind)))[0]

    def _bytes(self, place: int, size: int) -> memoryview:
        if not 0 <= place <= place + size <= len(self.content):
            raise ValueError(f"bytes {place} to {place + size} of {len(self.content)}")
        return self.content[place : place + size]


def root(content: bytes | memoryview) -> Table:
    """The outermost table. Raises ValueError."""
    view = memoryview(content)
    if len(view) < 8:
        raise ValueError(f"a file of {len(view)} bytes")
    return Table(view, struct.unpack_from("<I", view)[0])


@dataclass(frozen=True)
class Packed:
    """A table to be written: field number -> value. An int has 32 bits, a bool 8, a NumPy scalar as many as it says."""

    fields: Mapping[int, Any]


@dataclass(frozen=True)
class Aligned:
    """A list of numbers whose first one stands at a multiple of `ALIGNMENT` bytes, as kernels and 64 bits want it."""

    array: np.ndarray


def packed(table: Packed, head: bytes = b"") -> bytearray:
    """The file whose outermost table this is; the same on every machine. Lists of numbers are little-endian arrays.

    Args:
        head: what stands before the tables, behind the offset of the outermost one: an identifier, and more.
    """
    content = bytearray(4) + head
    _point(content, 0, _put_table(content, table))
    return content


def _put_table(content: bytearray, table: Packed) -> int:
    """Appends a table and what it points at; returns its place. Whatever is pointed at stands behind."""
    scalars = {field: _scalar(value) for field, value in table.fields.items()}
    sizes = {field: 4 if scalar is None else scalar.nbytes for field, scalar in scalars.items()}
    places: dict[int, int] = {}
    size = 4  # the offset of the list of fields comes first
    for field in sorted(sizes, key=lambda field: -sizes[field]):
        places[field] = size
        size += sizes[field]
    count = max(sizes, default=-1) + 1
    fields = [4 + 2 * count, size, *(places.get(field, 0) for field in range(count))]
    content += bytes(len(content) % 2) + struct.pack(f"<{len(fields)}H", *fields)
    start = len(content) - 2 * len(fields)
    content += bytes(-len(content) % 4)
    if 8 in sizes.values() and len(content) % 8 == 0:  # the first of 64 bits stands 4 behind the table's beginning
        content += bytes(4)
    place = len(content)
    content += struct.pack("<i", place - start) + bytes(size - 4)
    for field, scalar in scalars.items():
        at = place + places[field]
        if scalar is None:
            _point(content, at, _put(content, table.fields[field]))
        else:
            content[at : at + scalar.nbytes] = scalar.tobytes()
    return place


def _scalar(value: Any) -> np.generic | None:
    """As NumPy holds it; None of what a table points at."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int32(value)
    if isinstance(value, float):
        return np.float32(value)
    return value if isinstance(value, np.generic) else None


def _put(content: bytearray, value: Any) -> int:
    """Appends a table, a text or a list; returns its place."""
    if isinstance(value, Packed):
        return _put_table(content, value)
    if isinstance(value, Aligned):
        content += bytes(-(len(content) + 4) % ALIGNMENT)
        value = value.array
    else:
        content += bytes(-len(content) % 4)
        if isinstance(value, np.ndarray) and value.itemsize == 8 and len(content) % 8 == 0:
            content += bytes(4)
    place = len(content)
    if isinstance(value, str):
        text = value.encode()
        content += struct.pack("<I", len(text)) + text + b"\0"
    elif isinstance(value, np.ndarray):
        content += struct.pack("<I", value.size)
        content += np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    else:
        content += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for n, item in enumerate(value):
            _point(content, place + 4 + 4 * n, _put(content, item))
    return place


def _point(content: bytearray, place: int, target: int) -> None:
    struct.pack_into("<I", content, place, target - place)
