"""Results are written whole or not at all: beside the target, then renamed."""

import contextlib
import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import OutputError
from .system import replace

__all__ = ["SUFFIX", "check_writable", "shown_in", "staged", "staged_in"]

SUFFIX = ".partial"
REPLACED = "replaced"
YOUNG = 60.0  # seconds for which a folder is never taken for a dead process's: its owner may not hold the lock yet


@contextlib.contextmanager
def staged(target: str | Path) -> Iterator[Path]:
    """A path in a hidden folder beside `target`; what was written there becomes `target` when the block succeeds.

    A file or folder that stood at `target` is replaced then, not before. When the block raises, nothing is left. A
    process that is killed leaves at most the hidden folder, which the next one for the same target removes.

    Raises:
        OutputError: the folder of `target` cannot be made or written, or the disk is full.
    """
    target = Path(target)
    folder = target.parent / f".{target.name}.{secrets.token_hex(8)}{SUFFIX}"
    try:  # the folder is made in here: a signal that comes right after has it removed too
        _make(folder, target)
        with FileLock(folder / "lock"):
            yield folder / target.name
            _publish(folder / target.name, target, folder)
    except BrokenPipeError:
        raise  # not about the result: whoever read what the block printed is gone
    except OSError as error:
        if error.filename and not str(error.filename).startswith(str(folder)) and not error.filename2:
            raise  # not about the result: some other file that the block wanted
        raise OutputError(f"{target}: cannot write there: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def staged_in(room: Path, target: Path) -> Iterator[Path]:
    """As `staged` for one file of many: it is written in the folder `room`, which its owner locks and clears.

    `room` lies on the file system of `target`. No lock and no search for leftovers here: in a folder of thousands of
    results they would cost more than the results.
    """
    path = room / f"{secrets.token_hex(8)}{SUFFIX}"  # no clock: those of some systems tick 64 times a second
    made = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = True
        yield path
        replace(path, target)
    except OSError as error:
        if made and error.filename and not str(error.filename).startswith(str(room)):
            raise
        raise OutputError(f"{target}: cannot write there: {error.strerror or error}") from error
    finally:
        path.unlink(missing_ok=True)


def check_writable(target: Path) -> None:
    """Raises OutputError where `staged` would, as far as that can be seen without writing."""
    folder = target.parent.absolute()
    lowest = next(place for place in (folder, *folder.parents) if place.exists())
    code = 0
    if not lowest.is_dir():
        code = errno.EEXIST if lowest == folder else errno.ENOTDIR
    elif not os.access(lowest, os.W_OK | os.X_OK):
        code = errno.EACCES
    if code:
        raise OutputError(f"{target}: cannot write there: {os.strerror(code)}")


def _make(folder: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(f"{target}: cannot write there: {error.strerror}") from None


def _publish(result: Path, target: Path, folder: Path) -> None:
    """`result` takes the place of `target`; a folder in the way is moved aside first and comes back on failure."""
    if not target.is_dir():
        replace(result, target)
        return
    aside = folder / REPLACED
    replace(target, aside)
    try:
        replace(result, target)
    except OSError:
        replace(aside, target)
        raise


def _sweep(target: Path) -> None:
    """Removes what killed processes left of earlier attempts at the same target."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.*{SUFFIX}"):
        with contextlib.suppress(Timeout, OSError):
            if time.time() - folder.stat().st_mtime < YOUNG:
                continue
            with FileLock(folder / "lock").acquire(timeout=0):
                if not target.exists() and (folder / REPLACED).exists():
                    replace(folder / REPLACED, target)  # killed between the two renames of `_publish`
            shutil.rmtree(folder, ignore_errors=True)


def shown_in(folder: Path) -> Iterator[Path]:
    """Everything in `folder`, at any depth, but what is hidden: `.DS_Store`, `.git`."""
    for path in folder.rglob("*"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
