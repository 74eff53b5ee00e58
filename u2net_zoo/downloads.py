"""Weights of the catalog, fetched into the cache: verified, one process at a time, whole or not at all.

    U2ZOO_HOME      where they are kept
    U2ZOO_OFFLINE   1: use what is there, fetch nothing
    U2ZOO_TIMEOUT   seconds without progress before a source is given up (30)

What is fetched stands in `.partial` until all of it is verified; nothing reads that folder, and whoever holds the lock
may clear it, because its owner is dead.
"""

import contextlib
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import system
from .catalog import Entry, File, Source, home
from .errors import DownloadError, InputError, OptionError, OutputError
from .reading import read_checkpoint, sha256_of
from .transport import Downloader, Progress, silent

__all__ = ["LARGEST", "Fetched", "fetch", "fetch_pinned", "locked", "offline", "patience", "retrieve"]

SEEN = ".sha256"  # beside a file whose hash is not published: the hash that it had when it was accepted
SPARE = 1 << 20  # what a container may add to the tensors
LARGEST = 1 << 30  # for a file of unknown size and architecture


@dataclass(frozen=True)
class Fetched:
    """Weights in the cache.

    Attributes:
        path: the file to read.
        bytes, sha256: of that file.
        source: where it came from: a URL, or `bundled`.
        verified: the hash is the published one; False: none is published, the file reads as the right architecture.
        cached: it was here already.
    """

    name: str
    path: Path
    bytes: int
    sha256: str
    source: str
    verified: bool
    cached: bool


def fetch(entry: Entry, *, progress: Progress = silent) -> Fetched:
    """The weights of `entry`, from the cache or from the first of its sources that keeps its word.

    Raises:
        DownloadError: no source did, or U2ZOO_OFFLINE forbids it; says of each what came and what was expected.
        OutputError: the cache cannot be written. OptionError: U2ZOO_TIMEOUT is no number.
    """
    if found := _find_cached(entry):
        return found
    if offline():
        state = "damaged in the cache" if entry.cached() else "not in the cache"
        raise DownloadError(f"{entry.name}: {state} ({home()}) and U2ZOO_OFFLINE is set; fetch it once with a network")
    folder = home() / entry.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            # Somebody else may have fetched it while this process waited.
            return _find_cached(entry) or _fetch_first(entry, folder, progress)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write there: {error.strerror or error}") from error


def fetch_pinned(
    what: str, file: File, url: str, folder: Path, keep: Callable[[Path, Path], None], *, progress: Progress = silent
) -> None:
    """A file of known size and sha256 that is no weights: `keep(file, folder)` puts what is wanted of it into `folder`.

    Raises:
        DownloadError: it did not come as it should, or U2ZOO_OFFLINE forbids it.
        OutputError: `folder` cannot be written.
    """
    if offline():
        raise DownloadError(f"{what}: not in the cache ({home()}) and U2ZOO_OFFLINE is set; fetch it with a network")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            downloader = Downloader(file.bytes, file.bytes or LARGEST, patience(), progress=progress)
            keep(retrieve(replace(file, url=url), folder / ".partial", downloader), folder)
    except DownloadError as error:
        raise DownloadError(f"{what}: not fetched: {urlsplit(url).hostname} ({file.file}): {error}") from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot write there: {error.strerror or error}") from error


def offline() -> bool:
    """Whether U2ZOO_OFFLINE forbids to fetch anything."""
    return os.environ.get("U2ZOO_OFFLINE", "").lower() not in ("", "0", "false", "no")


def patience() -> float:
    """Seconds of U2ZOO_TIMEOUT. Raises OptionError."""
    text = os.environ.get("U2ZOO_TIMEOUT") or "30"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise OptionError(f"U2ZOO_TIMEOUT={text!r}: allowed are seconds above 0")
    return seconds


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The lock of a folder of the cache; the system gives it back when its holder is killed."""
    from filelock import FileLock

    with FileLock(folder / ".lock"):
        shutil.rmtree(folder / ".partial", ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(folder / ".partial", ignore_errors=True)


def _find_cached(entry: Entry) -> Fetched | None:
    """What the cache holds of `entry`, hashes checked: a file damaged on the disk counts as missing."""
    for source in entry.sources:
        folder = entry.folder(source)
        if all(_is_intact(folder / file.file, file) for file in source.files):
            return _describe(entry, source, folder / source.file, cached=True)
    return None


def _is_intact(path: Path, file: File) -> bool:
    expected = file.sha256 or _note_of(path)
    if not path.is_file() or file.bytes not in (None, path.stat().st_size):
        return False
    return _digest(path, path.stat().st_mtime_ns) == expected


@functools.cache
def _digest(path: Path, modified: int) -> str:
    """sha256 of a file, computed once a process: a command asks for its weights more than once."""
    return sha256_of(path)


def _note_of(path: Path) -> str | None:
    note = path.with_name(path.name + SEEN)
    return note.read_text(encoding="ascii", errors="replace").strip() if note.is_file() else None


def _describe(entry: Entry, source: Source, path: Path, *, cached: bool) -> Fetched:
    sha256 = source.sha256 or _note_of(path) or ""
    verified = source.sha256 is not None
    return Fetched(entry.name, path, path.stat().st_size, sha256, source.url or source.kind, verified, cached)


def _fetch_first(entry: Entry, folder: Path, progress: Progress) -> Fetched:
    """The first source that delivers; one that fails is remembered for the message."""
    seconds = patience()
    failures = []
    for source in entry.sources:
        if source.kind == "bundled":
            failures.append(_not_as_bundled(entry, source))
            continue
        try:
            for file in source.files:
                limit = file.bytes or _limit(entry)
                drive = source.kind == "gdrive"
                downloader = Downloader(file.bytes, limit, seconds, drive=drive, progress=progress)
                _download(entry, file, folder / ".partial", downloader)
            _publish(source, folder)
            return _describe(entry, source, folder / source.file, cached=False)
        except DownloadError as error:
            failures.append(f"{urlsplit(source.url).hostname} ({source.file}): {error}")
    raise DownloadError(f"{entry.name}: not fetched: {'; '.join(failures)}")


def _not_as_bundled(entry: Entry, source: Source) -> str:
    path = entry.folder(source) / source.file
    found = f"its sha256 is {sha256_of(path)}" if path.is_file() else "it is missing"
    return f"{path} comes with the project, but {found}, expected {source.sha256}; put back the file as it was"


def _download(entry: Entry, file: File, folder: Path, downloader: Downloader) -> None:
    """`file` in `folder`, verified: by its hash, or by what it holds."""
    path = retrieve(file, folder, downloader)
    if file.sha256 is None:
        _check_weights(entry, path)


def retrieve(file: File, folder: Path, downloader: Downloader) -> Path:
    """`file` in `folder`. pooch writes to a temporary name, compares the hash, and only then renames."""
    with _silence_pooch() as pooch:
        try:
            return Path(pooch.retrieve(file.url, file.sha256, fname=file.file, path=folder, downloader=downloader))
        except ValueError:  # pooch's word for another hash
            expected = f"expected sha256 {file.sha256}, got {downloader.sha256}"
            raise DownloadError(f"{expected}; the file was replaced, or damaged on its way") from None


@contextlib.contextmanager
def _silence_pooch() -> Iterator[Any]:
    """pooch, which otherwise writes its own lines to stderr."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield pooch
    finally:
        logger.setLevel(level)


def _check_weights(entry: Entry, path: Path) -> None:
    """Without a published hash a file is believed when it reads as the right network. Notes the hash it has.

    Raises:
        DownloadError: it does not.
    """
    try:
        found = read_checkpoint(path).arch
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DownloadError(f"no hash is published, and it does not read as {entry.architecture}: {reason}") from None
    known = entry.arch()
    if known is not None and found not in (known, known.fold()):
        raise DownloadError(f"no hash is published, and it holds {found.name}, not {entry.architecture}")
    path.with_name(path.name + SEEN).write_text(f"{sha256_of(path)}\n", encoding="ascii")


def _publish(source: Source, folder: Path) -> None:
    """Renames the files into the cache, notes first and the file that is read last."""
    for file in source.files:
        for name in (file.file + SEEN, file.file):
            if (ready := folder / ".partial" / name).exists():
                system.replace(ready, folder / name)


def _limit(entry: Entry) -> int:
    """The most that a file of unknown size may have: float32 tensors, a twentieth more, and a container."""
    arch = entry.arch()
    if arch is None:
        return LARGEST
    return int(arch.parameters() * 4 * 1.05) + SPARE
