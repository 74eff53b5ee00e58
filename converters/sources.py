"""Weights from anywhere: any file of a registered format -> Checkpoint."""

import hashlib
from dataclasses import replace
from pathlib import Path

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import (
    ArtifactError,
    CheckpointError,
    InputError,
    MissingExtraError,
    U2ZooError,
    one_line,
)

from .base import Format
from .registry import FORMATS

__all__ = ["format_of", "read_source", "sha256_of_all", "stem_of"]

OF_ARTIFACTS = ("u2zoo.", "com.apple.coreml.", "classes")  # metadata of the file, not of the weights in it
PARTNERS = {".bin": ".param or .xml", ".pb": "folder (the SavedModel)"}


def format_of(path: str | Path) -> Format:
    """The format of the file or folder. Raises InputError: there is none, or it is of no known kind."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    for fmt in FORMATS.values():
        if fmt.accepts(path):
            return fmt
    partner = PARTNERS.get(path.suffix)
    if partner:
        raise ArtifactError(f"{path}: a part of a model; name the {partner} that it belongs to")
    suffixes = ", ".join(dict.fromkeys(s for fmt in FORMATS.values() for s in (fmt.suffix, *fmt.also)))
    raise ArtifactError(
        f"{path}: {'a folder that is ' if path.is_dir() else ''}not a model of a known kind; allowed: {suffixes}"
    )


def read_source(path: str | Path) -> Checkpoint:
    """The checkpoint in a weight file or in a converted model of any format.

    `meta` tells the file's name, its sha256 (see `sha256_of_all`) and its format.

    Raises:
        InputError: no such file, of an unknown kind, damaged, or no U²-Net.
        MissingExtraError: the package that reads this format is not installed.
    """
    path = Path(path)
    fmt = format_of(path)
    try:
        checkpoint = fmt.read(path)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading {path.name}", error.name or "?", fmt.extra) from None
    except InputError as error:
        raise CheckpointError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except (U2ZooError, OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file fails in more ways than its parser documents
        raise CheckpointError(f"{path}: damaged or not {fmt.title} ({one_line(error)})") from error
    own = {key: value for key, value in checkpoint.meta.items() if not key.startswith(OF_ARTIFACTS)}
    return replace(checkpoint, meta=own).with_meta(
        source=path.name, sha256=sha256_of_all(fmt.files(path)), format=fmt.name
    )


def stem_of(path: str | Path) -> str:
    """`sky.ncnn.param` -> `sky`; what a converted file is called after."""
    path = Path(path)
    for fmt in FORMATS.values():
        for suffix in (fmt.suffix, *fmt.also):
            if path.name.endswith(suffix) and path.name != suffix:
                return path.name.removesuffix(suffix)
    return path.stem


def sha256_of_all(files: list[Path]) -> str:
    """sha256 of a file; of several (a folder, a pair): of the lines `sha256  name` in the order of their names."""
    digests = []
    for file in sorted(files, key=lambda f: f.name):
        with file.open("rb") as stream:
            digests.append((file.name, hashlib.file_digest(stream, "sha256").hexdigest()))
    if len(digests) == 1:
        return digests[0][1]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in digests).encode()).hexdigest()
