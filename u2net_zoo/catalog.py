"""The catalog: which weights the zoo knows, what they answer, and where to get them. Data in, typed entries out.

The data is `weights/catalog.toml`; nothing here downloads or loads a framework. `U2ZOO_CATALOG` names another file of
the same form: weights of one's own, or mirrors inside a company.
"""

import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import arch as architectures
from .arch import Architecture
from .errors import CatalogError, UnknownNameError
from .schema import Field, build

__all__ = ["Entry", "File", "Source", "bundled", "classes_with", "get_entry", "home", "load_catalog"]

FROM_SHAPES = "from shapes"  # the file's tensors alone say what the network is
ARCHITECTURES = ("u2net", "u2netp", "u2net_nano", "isnet", FROM_SHAPES)
OUTPUTS = ("mask", "logits", "classes", "drawing")
KINDS = ("http", "gdrive", "bundled")
BARE = r"[A-Za-z0-9][\w.-]*"  # a file's name, never a path


@dataclass(frozen=True)
class File:
    """One file at one URL.

    Attributes:
        url: empty for a file that comes with the package.
        file: its name in the cache, or in the package.
        bytes, sha256: None where none is published.
        note: what is not certain about it.
    """

    url: str = ""
    file: str = ""
    bytes: int | None = None
    sha256: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Source(File):
    """A file that holds the weights, and the files that belong beside it (an ncnn `.param` has its `.bin`).

    Attributes:
        kind: `http`; `gdrive`: Google Drive, which asks for a confirmation before it sends a large file; `bundled`: it
            comes with the package.
        beside: further files, fetched from URLs of the same kind.
    """

    kind: str = "http"
    beside: tuple[File, ...] = ()

    @property
    def files(self) -> tuple[File, ...]:
        """All of them, the one that is read last: when it is in place, the others are."""
        return (*self.beside, self)

    @property
    def total(self) -> int | None:
        """Bytes of all files; None where one is not known."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size)


@dataclass(frozen=True)
class Entry:
    """One set of weights.

    Attributes:
        purpose: what it finds in a photograph.
        architecture: name of a constant in `arch.py` in small letters, or `from shapes`.
        profile: how photographs are prepared for it: a name in `preprocessing.PROFILES`.
        output: meaning of d0: `mask` (in [0, 1]), `logits` (of a mask), `classes` (a logit per class), `drawing`
            (inverted: 1 is white paper).
        sources: where the weights are, the preferred one first. They may be different files of the same weights.
        licence, training: of the weights, and what is known about their training data.
        out_ch: channels of each output.
        parameters: of the network; None where the shapes were not seen.
        classes: names of the classes, in the order of the channels.
    """

    name: str
    purpose: str
    architecture: str
    profile: str
    output: str
    licence: str
    training: str
    citation: str
    sources: tuple[Source, ...]
    out_ch: int = 1
    parameters: int | None = None
    classes: tuple[str, ...] = ()

    def arch(self) -> Architecture | None:
        """The network, batch norm not folded; None when only the file's shapes tell."""
        known = getattr(architectures, self.architecture.upper(), None)
        if known is None or self.out_ch == known.out_ch:
            return known
        return replace(known, out_ch=self.out_ch, final="none")

    def folder(self, source: Source) -> Path:
        """Where the files of `source` stand, or will stand once they are fetched."""
        return bundled(source.file).parent if source.kind == "bundled" else home() / self.name

    def cached(self) -> Source | None:
        """The source whose files are here, by name and size; None before the first download."""
        return next((s for s in self.sources if all(_in_place(self.folder(s), file) for file in s.files)), None)


def home() -> Path:
    """Folder of the downloaded weights: `U2ZOO_HOME`, or the platform's cache folder."""
    if chosen := os.environ.get("U2ZOO_HOME"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("u2zoo")


def get_entry(name: str) -> Entry:
    """The entry of that name. Raises UnknownNameError."""
    catalog = load_catalog()
    if name not in catalog:
        raise UnknownNameError("catalog name", name, catalog)
    return catalog[name]


def classes_with(profile: str) -> tuple[str, ...]:
    """Names of the classes of the weights that have this profile; empty when none of them tells classes apart."""
    found = [entry.classes for entry in load_catalog().values() if entry.profile == profile and entry.classes]
    return found[0] if found else ()


def load_catalog(path: str | Path | None = None) -> Mapping[str, Entry]:
    """Name to entry, in the file's order; of `U2ZOO_CATALOG`, or of the catalog that comes with the package.

    Raises:
        CatalogError: no such file, no TOML, or a field that is missing, unknown or wrong: names entry and field.
    """
    return _load(Path(path or os.environ.get("U2ZOO_CATALOG") or bundled("catalog.toml")))


def bundled(name: str) -> Path:
    """A file that comes with the package: beside this module where it is installed; in a clone, in `weights/`."""
    installed = Path(__file__).with_name(name)
    return installed if installed.is_file() else Path(__file__).parents[1] / "weights" / name


@functools.cache
def _load(path: Path) -> Mapping[str, Entry]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"{path}: the catalog cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOML and UTF-8 alike
        raise CatalogError(f"{path}: the catalog is no TOML: {error}") from None
    return {name: _entry(name, table) for name, table in document.items()}


def _entry(name: str, table: Any) -> Entry:
    entry = build(Entry, {"name": name, **table} if isinstance(table, dict) else table, ENTRY, name)
    if entry.output == "classes" and len(entry.classes) != entry.out_ch:
        raise CatalogError(f"{name}.classes: {len(entry.classes)} names for {entry.out_ch} channels")
    for source in entry.sources:
        if (source.kind == "bundled") == bool(source.url):
            raise CatalogError(f"{name}.sources: {source.file}: a bundled file has no url, any other has one")
        if source.kind == "gdrive" and "id=" not in source.url:
            raise CatalogError(f"{name}.sources: {source.url}: a Google Drive address has an id=")
    return entry


def _in_place(folder: Path, file: File) -> bool:
    path = folder / file.file
    return path.is_file() and file.bytes in (None, path.stat().st_size)


FILE: Mapping[str, Field] = {
    "url": Field(str, pattern=r"https?://\S+", required=False),
    "file": Field(str, pattern=BARE),
    "bytes": Field(int, required=False, least=1),
    "sha256": Field(str, pattern=r"[0-9a-f]{64}", required=False),
    "note": Field(str, required=False),
}
SOURCE: Mapping[str, Field] = {
    **FILE,
    "kind": Field(str, choices=KINDS),
    "beside": Field(File, rows=FILE, required=False),
}
ENTRY: Mapping[str, Field] = {
    "name": Field(str, pattern=BARE),
    "purpose": Field(str),
    "architecture": Field(str, choices=ARCHITECTURES),
    "profile": Field(str, pattern=r"[a-z][a-z-]*"),
    "output": Field(str, choices=OUTPUTS),
    "licence": Field(str),
    "training": Field(str),
    "citation": Field(str),
    "sources": Field(Source, rows=SOURCE),
    "out_ch": Field(int, required=False, least=1),
    "parameters": Field(int, required=False, least=1),
    "classes": Field(str, many=True, required=False),
}
