"""A few words that an MNN file carries about itself, where the vendor's converter keeps those of an ONNX file.

`extraInfo.buffer` is a table of its own: type `Meta`, engine `MNN`, and attributes of a key and a text.
"""

import struct

import numpy as np

from .flat_tables import Packed, Table, packed, root
from .mnn_schema import Net

__all__ = ["FAST", "KERNELS", "PLAIN", "packed_words", "with_plain_kernels", "words_of"]

KERNELS = "u2zoo.kernels"  # which of the engine's this project runs the file by
FAST, PLAIN = "quick", "plain"  # of the same length: one takes the other's place

BUFFER, VERSION = 0, 2  # of `ExtraInfo`
TYPE, ENGINE, ATTRIBUTES = 0, 1, 3  # of `Extra`
TEXT, KEY = 0, 3  # of `Attribute`
MOST = 64  # words
NEARBY = 256  # bytes: of an attribute, its text stands before its key


def packed_words(words: dict[str, str], version: str) -> Packed:
    """The table `ExtraInfo` with `words` and the version of the schema."""
    attributes = [Packed({TEXT: text, KEY: key}) for key, text in sorted(words.items())]
    meta = packed(Packed({TYPE: "Meta", ENGINE: "MNN", ATTRIBUTES: attributes}))
    return Packed({BUFFER: np.frombuffer(meta, np.int8), VERSION: version})


def with_plain_kernels(content: bytes) -> bytes:
    """The file, which says that plain kernels run it instead of fast ones. Raises ValueError where it says neither."""
    fast, plain = (struct.pack("<I", len(word)) + word.encode() for word in (FAST, PLAIN))
    at = content.find(KERNELS.encode())
    if at < 0 or words_of(root(content)).get(KERNELS) != FAST:
        raise ValueError("it does not say which kernels run it")
    place = content.rfind(fast, max(0, at - NEARBY), at)
    return content[:place] + plain + content[place + len(plain) :]


def words_of(net: Table) -> dict[str, str]:
    """What `packed_words`, or the vendor's converter from an ONNX file, wrote; empty where nobody did."""
    try:
        content = net.table(Net.extra_info).array(BUFFER, "i1").tobytes()
        attributes = root(content).tables(ATTRIBUTES)[:MOST] if content else []
        return {attribute.text(KEY): attribute.text(TEXT) for attribute in attributes}
    except (ValueError, UnicodeDecodeError):  # damaged there, or without it
        return {}
