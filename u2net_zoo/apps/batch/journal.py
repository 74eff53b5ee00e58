"""What a run over many photographs has finished, so that another can go on where it was stopped."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import OptionError, OutputError
from .jobs import Job
from .work import Outcome

__all__ = ["ROOM", "Journal", "journal", "stamp"]

ROOM = ".u2zoo-run"  # in the folder of the results: unfinished files, and the list of what is finished
LIST = "finished.jsonl"
ANEW = "leave out --resume to start anew"


class Journal:
    """Reads and appends the list in `room`: its first line are the run's settings, then a line for each photograph.

    A line is written when the files that it names are there under their names, so they are whole.
    """

    def __init__(self, room: Path, settings: dict[str, Any], *, resume: bool, anew: str = ANEW):
        self.room, self.settings = room, settings
        self.list, self.anew = room / LIST, anew
        self.finished = self._read_earlier() if resume else {}
        self.kept = resume  # an orderly end removes the list, unless another run is to know it
        if not self.finished:
            self.list.write_text(json.dumps(settings) + "\n", encoding="utf-8", newline="\n")
        self.file = self.list.open("a", encoding="utf-8", newline="\n")

    def outcome(self, index: int, job: Job) -> Outcome | None:
        """What an earlier run made of the photograph; None when it has to be done, or has changed since."""
        row = self.finished.get(job.photograph)
        if row is None or row["target"] != job.target or row["stamp"] != stamp(job.photograph):
            return None
        if not all(os.path.exists(file) for file in row["files"].values()):
            return None
        size = (row["size"][0], row["size"][1])
        return Outcome(index, size, row["seconds"], row["files"], row["facts"], row.get("profile", ""))

    def add(self, job: Job, outcome: Outcome, made_of: list[int] | None = None) -> None:
        """One line for a photograph that is done. `made_of`: its stamp then; None: as it is now."""
        row = {"photograph": job.photograph, "target": job.target, "stamp": made_of or stamp(job.photograph)}
        row |= {name: getattr(outcome, name) for name in ("size", "seconds", "files", "facts", "profile")}
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()

    def keep(self) -> None:
        """The list stays when the run ends: something failed, and another run may do it again."""
        self.kept = True

    def _read_earlier(self) -> dict[str, dict[str, Any]]:
        """Rows of the earlier run, up to a line that its end cut short or left garbled, as power cuts do."""
        rows: list[dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError), self.list.open("r+b") as file:
            whole = 0
            while (row := _row(file.readline())) is not None:
                rows.append(row)
                whole = file.tell()
            file.truncate(whole)
        if rows and rows[0] != self.settings:
            raise OptionError(
                f"{self.room.parent}: {_difference(rows[0], self.settings)}; ask for the same, or {self.anew}"
            )
        return {row["photograph"]: row for row in rows[1:]}


@contextlib.contextmanager
def journal(out: Path, settings: dict[str, Any], *, resume: bool, anew: str = ANEW) -> Iterator[Journal]:
    """The journal of a run into the folder `out`, which no other run may write to meanwhile.

    Unfinished files are removed, also those of a run that was killed. The list stays when the block raises and where
    `keep` was called, so that `resume` can use it.

    Args:
        anew: what people can do who want other settings than those of the earlier run.

    Raises:
        OptionError: the earlier run had other settings. OutputError: another run is at work there, or `out` cannot be
            written.
    """
    room = out / ROOM
    try:
        room.mkdir(parents=True, exist_ok=True)
        lock = FileLock(room / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(f"{out}: another run is writing there; wait for it, or name another -o") from None
    except OSError as error:
        raise OutputError(f"{out}: cannot write there: {error.strerror}") from None
    try:
        _clear(room)
        book = Journal(room, settings, resume=resume, anew=anew)
        with book.file:
            yield book
        if not book.kept:
            shutil.rmtree(room, ignore_errors=True)
    finally:
        _clear(room)
        lock.release()
        with contextlib.suppress(OSError):  # a folder with the list in it stays
            (room / "lock").unlink(missing_ok=True)
            room.rmdir()


def _clear(room: Path) -> None:
    """Removes unfinished files: a process that was killed could not."""
    for left in room.glob("*.partial"):
        left.unlink(missing_ok=True)


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of the list; None for one that is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def stamp(path: str) -> list[int]:
    """Size and time of a file's last change; one that was replaced has another."""
    try:
        state = os.stat(path)
    except OSError:
        return []
    return [state.st_size, state.st_mtime_ns]


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    name = next(key for key in {**before, **now} if before.get(key) != now.get(key))
    return f"the run to resume had {name} {before.get(name)!r}, this one has {now.get(name)!r}"
