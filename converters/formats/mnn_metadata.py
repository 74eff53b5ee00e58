"""A few words that an MNN file carries about itself, where the vendor's converter keeps those of an ONNX file.

`extraInfo.buffer` is a table of its own: type `Meta`, engine `MNN`, and attributes of a key and a text.
"""

import numpy as np

from .flat_tables import Packed, Table, packed, root
from .mnn_schema import Net

__all__ = ["packed_words", "words_of"]

BUFFER, VERSION = 0, 2  # of `ExtraInfo`
TYPE, ENGINE, ATTRIBUTES = 0, 1, 3  # of `Extra`
TEXT, KEY = 0, 3  # of `Attribute`
MOST = 64  # words


def packed_words(words: dict[str, str], version: str) -> Packed:
    """The table `ExtraInfo` with `words` and the version of the schema."""
    attributes = [Packed({TEXT: text, KEY: key}) for key, text in sorted(words.items())]
    meta = packed(Packed({TYPE: "Meta", ENGINE: "MNN", ATTRIBUTES: attributes}))
    return Packed({BUFFER: np.frombuffer(meta, np.int8), VERSION: version})


def words_of(net: Table) -> dict[str, str]:
    """What `packed_words`, or the vendor's converter from an ONNX file, wrote; empty where nobody did."""
    try:
        content = net.table(Net.extra_info).array(BUFFER, "i1").tobytes()
        attributes = root(content).tables(ATTRIBUTES)[:MOST] if content else []
        return {attribute.text(KEY): attribute.text(TEXT) for attribute in attributes}
    except (ValueError, UnicodeDecodeError):  # damaged there, or without it
        return {}
