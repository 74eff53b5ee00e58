"""The metadata of an ONNX file, read without the rest of it and without the package `onnx`.

Source: onnx.proto: `ModelProto.metadata_props` is field 14, a `StringStringEntryProto` has `key` 1 and `value` 2; and
the encoding of protocol buffers: a field is a key (number, wire type) and a varint, 4, 8, or as many bytes as a varint
says.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

__all__ = ["words_of"]

PROPERTIES, KEY, VALUE = 14, 1, 2
VARINT, EIGHT, SIZED, FOUR = 0, 1, 2, 5
FIXED = {EIGHT: 8, FOUR: 4}
LARGEST = 1 << 16  # bytes of one entry that is looked at
MOST = 256  # entries


def words_of(path: Path) -> dict[str, str]:
    """Name -> text; of a damaged file what stands before the damage."""
    words: dict[str, str] = {}
    with path.open("rb") as file:
        for number, content in _fields(file, path.stat().st_size, PROPERTIES):
            if number == PROPERTIES and len(words) < MOST:
                entry = dict(_fields(BytesIO(content), len(content), KEY, VALUE))
                words[_text(entry.get(KEY, b""))] = _text(entry.get(VALUE, b""))
    return words


def _fields(file: BinaryIO, size: int, *wanted: int) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the wanted fields that hold bytes; the others are skipped without being read."""
    while file.tell() < size:
        key = _varint(file)
        if key is None:
            return
        number, wire = key >> 3, key & 7
        length = FIXED.get(wire, 0) if wire != SIZED else _varint(file)
        if length is None or wire not in (VARINT, SIZED, *FIXED) or length > size - file.tell():
            return
        if wire == VARINT:
            _varint(file)
        elif wire == SIZED and number in wanted and length <= LARGEST:
            yield number, file.read(length)
        else:
            file.seek(length, 1)


def _varint(file: BinaryIO) -> int | None:
    """None: the file ends in it, or it is longer than 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value if value < 1 << 64 else None
    return None


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")
