"""Weights from anywhere: any file of a registered format -> Checkpoint."""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Content, content_of, refuse_no_model
from u2net_zoo.errors import (
    ArtifactError,
    CheckpointError,
    InputError,
    MissingExtraError,
    NotANetworkError,
    OptionError,
    U2ZooError,
    one_line,
)
from u2net_zoo.preprocessing import KNOWN_PROFILES
from u2net_zoo.sources import Located, locate
from u2net_zoo.weight_words import KEYS, Classes, classes_of, own_words

from .format import Format
from .formats import unread
from .registry import FORMATS

__all__ = [
    "checked_name",
    "classes_in",
    "format_of",
    "name_of",
    "open_source",
    "profile_in",
    "read_source",
    "sha256_of_all",
    "stem_of",
    "with_catalog_notes",
    "words_in",
]

MAX_NAME_BYTES = 150  # file systems take 255; endings and the name of a partial file come on top
DEVICES_OF_WINDOWS = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
OF_ARTIFACTS = ("u2zoo.",)  # metadata of the file, not of the weights in it


def format_of(path: str | Path) -> Format:
    """The format of the file or folder: by a file's content where that tells, otherwise by its name.

    Raises InputError: there is none, or it is of no known kind.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: {unread.reason(path) or 'no such file'}")
    refuse_no_model(path)
    content = content_of(path)
    if named := _named_and_signed(path, content):
        return named
    signed = [fmt for fmt in FORMATS.values() if fmt.signature and fmt.signature.fits(content)]
    if signed:
        return max(signed, key=lambda fmt: len(fmt.signature.members) if fmt.signature else 0)
    for fmt in FORMATS.values():
        if fmt.accepts(path):
            return fmt
    known = unread.reason(path)
    if known:
        raise ArtifactError(f"{path}: {known}")
    wholes = [fmt.parts[path.suffix] for fmt in FORMATS.values() if path.suffix in fmt.parts]
    if wholes:
        raise ArtifactError(f"{path}: a part of a model; name the {' or '.join(wholes)} that it belongs to")
    if any(path.suffix == fmt.companion for fmt in FORMATS.values() if fmt.companion):
        raise ArtifactError(f"{path}: a text that stands beside a model; name the model")
    suffixes = ", ".join(dict.fromkeys(s for fmt in FORMATS.values() for s in (fmt.suffix, *fmt.also)))
    raise ArtifactError(
        f"{path}: {'a folder that is ' if path.is_dir() else ''}not a model of a known kind; allowed: {suffixes}"
    )


def _named_and_signed(path: Path, content: Content) -> Format | None:
    """Where name and content agree, no other format has to be imported to ask."""
    name = path.suffix.lower().removeprefix(".")
    signature = FORMATS[name].signature if name in FORMATS else None
    agree = signature and not content.members and signature.fits(content)
    return FORMATS[name] if agree else None


def profile_in(path: str | Path) -> str | None:
    """The profile by which photographs are prepared for a model, where its file names one outside of its graph."""
    said = words_in(path).get("profile")
    return said if said in KNOWN_PROFILES else None


def classes_in(path: str | Path) -> Classes | None:
    """The classes that a model tells apart, where its file names them."""
    return classes_of(words_in(path))


def words_in(path: str | Path) -> dict[str, str]:
    """What a file says of the weights in it, see `weight_words`; empty where it cannot be read, or says nothing."""
    path = Path(path)
    try:
        return dict(_words_of(path, _state(path)))
    except (U2ZooError, OSError, ImportError):  # whoever opens it is told
        return {}


def _state(path: Path) -> tuple[tuple[int, int], ...]:
    """When each file of a model was changed, and its size: of a folder its own time says nothing of the files in it."""
    found = [file.stat() for file in format_of(path).files(path)]
    return tuple((each.st_mtime_ns, each.st_size) for each in found)


@functools.lru_cache(maxsize=8)
def _words_of(path: Path, state: tuple[tuple[int, int], ...]) -> Mapping[str, str]:
    """Of a file in that state: commands ask more than once, and some have to parse the whole file."""
    fmt = format_of(path)
    asked = fmt.profile_in(path)
    return own_words(fmt.words_in(path)) | ({"profile": asked} if asked else {})


def read_source(path: str | Path, key: str | None = None, arch: str | None = None) -> Checkpoint:
    """The checkpoint in a weight file or in a converted model of any format.

    `meta` tells the file's name, its sha256 (see `sha256_of_all`) and its format.

    Args:
        key: which network is meant where a training run saved several in a file: `"ema"`.
        arch: which blocks are dilated, where the file leaves it open: `"dilated"`, `"plain"`, or all blocks by name,
            `"7,6,5,4,4F,4F,4F,4,5,6,7"`.

    What it does not say and was taken as usual is an AssumptionWarning.

    Raises:
        InputError: no such file, of an unknown kind, damaged, or no U²-Net.
        MissingExtraError: the package that reads this format is not installed.
    """
    path = Path(path)
    fmt = format_of(path)
    try:
        checkpoint = fmt.read_as(path, key, arch)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading {path.name}", error.name or "?", fmt.extra) from None
    except InputError as error:
        kind = NotANetworkError if isinstance(error, NotANetworkError) else CheckpointError
        text = str(error)
        raise kind(text if str(path) in text else f"{path}: {text.removeprefix(f'{path.name}: ')}") from None
    except (U2ZooError, OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file fails in more ways than its parser documents
        raise CheckpointError(f"{path}: damaged or not {fmt.title} ({one_line(error)})") from error
    checkpoint.warn(path)
    notes = (*OF_ARTIFACTS, *fmt.own_notes)
    own = {key: value for key, value in checkpoint.meta.items() if not key.startswith(notes) and key not in KEYS}
    said = own_words({**checkpoint.meta, **fmt.words_in(path)})
    return replace(checkpoint, meta={**own, **said}).with_meta(
        source=path.name, sha256=sha256_of_all(fmt.files(path)), format=fmt.name
    )


def open_source(
    source: str | Path | Checkpoint, key: str | None, arch: str | None
) -> tuple[Checkpoint, Located | None]:
    """The checkpoint of a file or a name (see `locate`), and where it lies; raises as `locate` and `read_source`."""
    if isinstance(source, Checkpoint):
        return source, None
    located = locate(source)
    return with_catalog_notes(read_source(located.path, key, arch), located), located


def with_catalog_notes(checkpoint: Checkpoint, located: Located) -> Checkpoint:
    """With what the catalog or the hub knows of the weights, for the artifacts' metadata."""
    entry = located.entry
    notes = {"classes": json.dumps(entry.classes)} if entry and entry.classes else {}
    if located.hub:
        notes["source"] = str(located.hub.name)
    if located.licence:
        notes["licence"] = located.licence
    return checkpoint.with_meta(**notes)


def name_of(located: Located | None, checkpoint: Checkpoint) -> str:
    """What artifacts are called after: the catalog's name, the file's, its repository's, or the architecture's."""
    if located is None:
        return checkpoint.arch.name
    return located.name or stem_of(located.path)


def checked_name(name: str) -> str:
    """`name`, if files of every format can be called so on every system. Raises OptionError."""
    ending = next((e for fmt in FORMATS.values() for e in (fmt.suffix, *fmt.also) if name.lower().endswith(e)), None)
    if ending:
        raise OptionError(f"name {name!r}: leave the ending {ending} out")
    if not re.fullmatch(r"[^\W_]([\w .+-]*[\w+-])?", name) or len(name.encode()) > MAX_NAME_BYTES:
        raise OptionError(
            f"name {name!r}: allowed are letters, digits, spaces and . _ + -, up to {MAX_NAME_BYTES} bytes,"
            " a letter or a digit first, no dot or space last"
        )
    if name.partition(".")[0].upper() in DEVICES_OF_WINDOWS:
        raise OptionError(f"name {name!r}: Windows keeps it for a device; choose another")
    return name


def stem_of(path: str | Path) -> str:
    """`sky.ncnn.param` -> `sky`; what a converted file is called after."""
    path = Path(path)
    for fmt in FORMATS.values():
        for suffix in (fmt.suffix, *fmt.also):
            if path.name.endswith(suffix) and path.name != suffix:
                return path.name.removesuffix(suffix)
    return path.name.removesuffix(".tar").removesuffix(".pth") if path.suffix == ".tar" else path.stem


def sha256_of_all(files: list[Path]) -> str:
    """sha256 of a file; of several (a folder, a pair): of the lines `sha256  name` in the order of their names."""
    digests = []
    for file in sorted(files, key=lambda f: f.name):
        with file.open("rb") as stream:
            digests.append((file.name, hashlib.file_digest(stream, "sha256").hexdigest()))
    if len(digests) == 1:
        return digests[0][1]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in digests).encode()).hexdigest()
