"""A saved `.aimodel`, read from disk as it was written.

An asset is a folder: `main.mlirb` is the program with its weights, `main.hash` the 32 bytes of its sha256, and
`metadata.json` what it says of itself.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from u2net_zoo.errors import ArtifactError, UnknownNameError, one_line
from u2net_zoo.limits import LARGEST

from .aicode import functions_of
from .bytecode import Bytecode
from .functions import Function

__all__ = ["CUSTOM", "HASH", "METADATA", "PROGRAM", "Asset", "write_words"]

PROGRAM, HASH, METADATA = "main.mlirb", "main.hash", "metadata.json"
CUSTOM = "creatorDefinedMetadata"
VERSION = "2."  # of assets; what iOS 27 reads is 2.0
METADATA_LIMIT = 1 << 20


class Asset:
    """An asset as data: its function, and what it says of itself.

    Attributes:
        path: the folder.
        function: the program.
        metadata: what its maker added to what it says of itself, as text.
    """

    def __init__(self, path: Path, function: Function, metadata: dict[str, str]):
        self.path, self.function, self.metadata = path, function, metadata

    @classmethod
    def open(cls, path: str | Path, function: str | None = None) -> "Asset":
        """The asset at `path`.

        Args:
            function: which one of several; `main`, or the only one, otherwise.

        Raises:
            ArtifactError: it is no asset, or a damaged one: one line says what is wrong and where.
            UnknownNameError: it has no such function.
        """
        path = Path(path)
        try:
            metadata = read_metadata(path)
            functions = functions_of(Bytecode(_program(path)))
        except ArtifactError as error:
            raise ArtifactError(f"{path.name}: {error}") from None
        except RecursionError:
            raise ArtifactError(f"{path.name}: damaged: its program is nested too deep") from None
        return cls(path, _chosen(path, functions, function), metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """What an asset's maker added to what it says of itself, as text. Raises ArtifactError."""
    words = _words(path)
    version = words.get("assetVersion")
    if not isinstance(version, str) or not version.startswith(VERSION):
        raise ArtifactError(f"an asset of version {version!r}; read are those of {VERSION}x")
    custom = words.get(CUSTOM, {})
    return _texts(custom if isinstance(custom, dict) else {})


def _texts(words: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in words.items()}


def write_words(path: Path, words: dict[str, str], custom: dict[str, str]) -> None:
    """Adds to what an asset says of itself: `description`, `author` and `license`, and words of our own."""
    found = _words(path)
    found |= words
    found[CUSTOM] = {**found.get(CUSTOM, {}), **custom}
    text = json.dumps(found, indent=2, ensure_ascii=False)
    (path / METADATA).write_text(text, encoding="utf-8", newline="\n")


def _words(path: Path) -> dict[str, Any]:
    file = path / METADATA
    if not path.is_dir() or not file.is_file():
        raise ArtifactError(f"is no .aimodel: a folder with {METADATA} was expected")
    if file.stat().st_size > METADATA_LIMIT:
        raise ArtifactError(f"{METADATA} is larger than {METADATA_LIMIT} bytes")
    try:
        words = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{METADATA} is damaged ({one_line(error)})") from None
    if not isinstance(words, dict):
        raise ArtifactError(f"{METADATA} is damaged: it is no object")
    return words


def _program(path: Path) -> bytes:
    file, digest = path / PROGRAM, path / HASH
    for each in (file, digest):
        if not each.is_file() or not each.resolve().is_relative_to(path.resolve()):
            raise ArtifactError(f"{each.name} is missing; an .aimodel has {PROGRAM}, {HASH} and {METADATA}")
    if file.stat().st_size > LARGEST:
        raise ArtifactError(f"{PROGRAM} has {file.stat().st_size} bytes; no U²-Net needs more than {LARGEST}")
    content = file.read_bytes()
    if hashlib.sha256(content).digest() != digest.read_bytes()[: 1 << 10]:
        raise ArtifactError(f"damaged: {PROGRAM} is not the file that {HASH} was made for; copy the asset again")
    return content


def _chosen(path: Path, functions: dict[str, Function], name: str | None) -> Function:
    if name is not None and name not in functions:
        raise UnknownNameError("function", name, functions)
    if name is None and "main" not in functions and len(functions) != 1:
        raise ArtifactError(f"{path.name}: its program has no function 'main'; it has {sorted(functions)}")
    return functions[name or ("main" if "main" in functions else next(iter(functions)))]
