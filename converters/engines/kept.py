"""What is kept in the cache: measurements, which engine runs which weights, and the files that it runs.

    U2ZOO_HOME/engines/measured/KEY.json   what was measured of an architecture
    U2ZOO_HOME/engines/chosen/KEY.json     what runs some weights
    U2ZOO_HOME/engines/networks/KEY/       the file that it runs

Whatever cannot be read, or is not what was written, counts as missing; whatever cannot be written is not kept. Neither
changes a result.
"""

import contextlib
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from u2net_zoo.catalog import home
from u2net_zoo.errors import OutputError, U2ZooError
from u2net_zoo.files import staged
from u2net_zoo.system import replace

from ..loading import sha256_of_all

__all__ = [
    "LARGEST",
    "Kept",
    "Row",
    "folder_of_all",
    "forget",
    "locked",
    "measurements",
    "note",
    "read",
    "rows_of",
    "sha256_of",
    "size",
    "writable",
    "write",
]

LARGEST = 2 << 30  # bytes of all networks: eleven of u2net's size, 400 of u2netp's
Row = dict[str, Any]  # engine, runtime, seconds (None: not timed), error (empty: it may be chosen)
NETWORKS = "networks"
STALE = 86400.0  # seconds after which an unfinished folder is a dead process's


def folder_of_all() -> Path:
    return home() / "engines"


def read(kind: str, key: str) -> Mapping[str, Any] | None:
    """The record `key` of a kind, `measured` or `chosen`; None where there is none that is whole."""
    return _record(folder_of_all() / kind / f"{key}.json")


def write(kind: str, key: str, record: Mapping[str, Any]) -> None:
    """Keeps a record, where the cache can be written."""
    with contextlib.suppress(OSError, U2ZooError), staged(folder_of_all() / kind / f"{key}.json") as path:
        path.write_text(json.dumps(record, indent=1), encoding="utf-8", newline="\n")


def measurements() -> list[Mapping[str, Any]]:
    """All records of what was measured, the latest first."""
    files = (folder_of_all() / "measured").glob("*.json")
    found = [record for record in map(_record, files) if record is not None and rows_of(record) and _sized(record)]
    return sorted(found, key=lambda record: str(record.get("date")), reverse=True)


def rows_of(record: Mapping[str, Any]) -> list[Row] | None:
    """Those of a record; None where it has none that are whole."""
    rows = record.get("rows")
    kinds: dict[str, Any] = {"engine": str, "runtime": str, "seconds": (float, int, type(None)), "error": str}
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return rows if all(isinstance(row.get(key), kind) for row in rows for key, kind in kinds.items()) else None


def _sized(record: Mapping[str, Any]) -> bool:
    size = record.get("size")
    return isinstance(size, list) and len(size) == 2 and isinstance(record.get("runtimes") or {}, dict)


def size() -> int:
    """Bytes of all that is kept."""
    return _bytes(folder_of_all())


def forget() -> int:
    """Removes all of it; returns bytes. Raises OutputError: it cannot be removed."""
    folder = folder_of_all()
    size = _bytes(folder)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: cannot be removed: {error.strerror or error}") from None
    return size


def writable() -> bool:
    """Whether anything can be kept at all."""
    try:
        folder_of_all().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder_of_all()) as file:
            file.write(b"0" * 4096)
        return True
    except OSError:
        return False


@contextlib.contextmanager
def locked(patience: float) -> Iterator[None]:
    """Alone: engines that are tried at the same time slow each other down. Where no lock can be had, not alone."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, Timeout):
            folder_of_all().mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder_of_all() / ".lock", timeout=patience))
        yield


class Kept:
    """The place of one network's file, or folder, for one engine."""

    def __init__(self, key: str, name: str):
        self.folder = folder_of_all() / NETWORKS / key
        self.path = self.folder / name

    def whole(self, sha256: object) -> bool:
        """Whether it is there as it was written; it then counts as used now."""
        with contextlib.suppress(OSError):
            if self.path.exists() and sha256_of(self.path) == sha256:
                note(self.folder)
                return True
        return False

    def take(self, made: Path) -> Path:
        """Keeps a copy of what was made, and makes room for it; returns what is to be run: `made` where that fails."""
        try:
            with staged(self.folder) as folder:
                folder.mkdir()
                (shutil.copytree if made.is_dir() else shutil.copyfile)(made, folder / made.name)
        except (OSError, U2ZooError):
            return made
        _make_room(self.folder)
        return self.path


def sha256_of(path: Path) -> str:
    """Of a file, or of all that a folder holds."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sha256_of_all(files) if files else ""


def note(folder: Path) -> None:
    """Marks a network as used: the one that was not for the longest time goes first."""
    with contextlib.suppress(OSError):
        folder.touch()


def _make_room(newest: Path) -> None:
    """Removes networks until the others fit beside `newest`."""
    with contextlib.suppress(OSError):
        for each in newest.parent.glob(".*"):  # what killed processes left
            if time.time() - each.stat().st_mtime > STALE:
                shutil.rmtree(each, ignore_errors=True)
        others = [each for each in newest.parent.iterdir() if each != newest and not each.name.startswith(".")]
        others.sort(key=lambda each: each.stat().st_mtime)
        total = _bytes(newest) + sum(map(_bytes, others))
        for each in others:
            if total <= LARGEST:
                return
            total -= _bytes(each)
            _remove(each)


def _remove(folder: Path) -> None:
    """At once: nobody sees a part of it."""
    with contextlib.suppress(OSError):
        aside = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.removed")
        replace(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _record(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
