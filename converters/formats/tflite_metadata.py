"""A few words that a TFLite file carries about itself: an entry of its metadata table, JSON in a buffer."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["ENTRY", "notes", "packed_words", "with_notes"]

ENTRY = "u2zoo"
LARGEST = 1 << 16  # bytes


def packed_words(words: Mapping[str, str]) -> np.ndarray:
    """The bytes of the buffer that `notes` reads."""
    return np.frombuffer(json.dumps(words).encode(), np.uint8)


def with_notes(content: bytes, words: dict[str, str]) -> bytes:
    """The file with `words` in its metadata."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    buffer = schema.BufferT()
    buffer.data = packed_words(words)
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + LARGEST)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def notes(content: bytes | np.ndarray) -> dict[str, str]:
    """What `with_notes` wrote, from a file's bytes or a memory map of them.

    Empty when it did not, or when the file is damaged there.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAsModel(content, 0)
        entries = [model.Metadata(i) for i in range(min(model.MetadataLength(), 64))]
        found = next((entry for entry in entries if entry.Name() == ENTRY.encode()), None)
        words = json.loads(_bytes(model, found.Buffer())) if found else {}
    except Exception:  # flatbuffers raises struct.error, IndexError, TypeError … for damage; the interpreter will tell
        return {}
    return words if isinstance(words, dict) else {}


def _bytes(model: Any, index: int) -> bytes:
    data = model.Buffers(index).DataAsNumpy()
    return b"{}" if isinstance(data, int) else data[:LARGEST].tobytes()
