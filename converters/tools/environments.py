"""Environments of tools in the cache: made on first use, by one process at a time, whole or not at all.

    U2ZOO_HOME/tools/NAME/         the environment, and the list that it was made from
    U2ZOO_HOME/tools/.NAME.lock    whoever makes or removes it holds this

What is being made has another name until it is whole. A venv may be renamed as long as nothing runs its scripts:
`python -m` finds its packages through `pyvenv.cfg`, which lies beside it.
"""

import contextlib
import glob
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from u2net_zoo.catalog import home
from u2net_zoo.downloads import offline
from u2net_zoo.errors import DownloadError, OutputError, UsageError
from u2net_zoo.files import SUFFIX, staged
from u2net_zoo.system import python_in, replace

from ..progress import report
from .installing import install
from .registry import Tool

__all__ = ["Environment"]

PINS = "u2zoo-pins.txt"  # the list that an environment was made from
PATIENCE = 1.0  # seconds between two words to whoever waits for another process


@dataclass(frozen=True)
class Environment:
    """The environment of `tool`, whether it is there or not."""

    tool: Tool

    @property
    def path(self) -> Path:
        return home() / "tools" / self.tool.name

    @property
    def python(self) -> Path:
        return python_in(self.path)

    @property
    def state(self) -> str:
        """`ready`; `outdated`: made from another list, or its Python is gone; `absent`."""
        if not self.path.is_dir():
            return "absent"
        noted = self.path / PINS
        fits = noted.is_file() and noted.read_text(encoding="utf-8") == self.tool.pins
        return "ready" if fits and self.python.exists() else "outdated"

    @property
    def bytes(self) -> int:
        """What it takes on the disk, half-made ones included."""
        folders = [self.path, *self._unfinished()]
        return sum(_size(file) for folder in folders for file in folder.rglob("*"))

    def make(self) -> Path:
        """Its Python; the environment is made if it is not ready. Progress is reported.

        Raises:
            UsageError: no wheels for this Python. DownloadError: packages did not come, or U2ZOO_OFFLINE forbids it.
            OutputError: the cache cannot be written.
        """
        if self.state != "ready":
            self._check()
            with self._locked():
                if self.state != "ready":  # another process may have made it meanwhile
                    self._make()
        return self.python

    def remove(self) -> int:
        """Removes it, half-made ones included, also when somebody uses it. Returns bytes.

        Raises:
            UsageError: there is none. OutputError: the cache cannot be written.
        """
        if self.state == "absent" and not self._unfinished():
            raise UsageError(f"{self.tool.name}: nothing of it is in {self.path.parent}; `u2zoo tools` lists what is")
        size = self.bytes
        with self._locked(), self._writing():
            if self.path.exists():
                aside = self.path.with_name(f".{self.tool.name}.removed{SUFFIX}")
                replace(self.path, aside)  # at once: nobody sees a part of it
                shutil.rmtree(aside)
        return size

    def _check(self) -> None:
        self.tool.check_python()
        if offline():
            found = "is not" if self.state == "absent" else "is out of date"
            raise DownloadError(
                f"{self.tool.name}: its environment {found} in the cache ({home()}) and U2ZOO_OFFLINE is set; "
                f"make it once with a network: u2zoo tools make {self.tool.name}"
            )

    def _make(self) -> None:
        self._check_room()
        start = time.monotonic()

        def doing(step: str) -> None:
            report(f"{self.tool.name}: making its environment, once: {step}, {time.monotonic() - start:.0f} s")

        with staged(self.path) as path:
            install(self.tool, path, python_in(path), doing)
            (path / PINS).write_text(self.tool.pins, encoding="utf-8")

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < self.tool.bytes:
            raise OutputError(
                f"{self.path}: needs {_megabytes(self.tool.bytes)}, and {_megabytes(free)} are free; free some, or name"
                " another disk in U2ZOO_HOME"
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock; what is half-made then is a dead process's, and goes."""
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f".{self.tool.name}.lock"))
        self._wait_for(lock)
        try:
            for folder in self._unfinished():
                shutil.rmtree(folder, ignore_errors=True)
            yield
        finally:
            lock.release()

    def _wait_for(self, lock: FileLock) -> None:
        while not lock.is_locked:
            with contextlib.suppress(Timeout), self._writing():
                lock.acquire(timeout=PATIENCE)
                return
            report(f"{self.tool.name}: another process is making its environment")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, Timeout):
                raise
            raise OutputError(f"{self.path}: cannot write there: {error.strerror or error}") from error

    def _unfinished(self) -> list[Path]:
        return list(self.path.parent.glob(f".{glob.escape(self.tool.name)}.*{SUFFIX}"))


def _size(file: Path) -> int:
    """Bytes of a file, without what a link leads to; it may go while it is looked at."""
    with contextlib.suppress(OSError):
        return file.lstat().st_size if not file.is_dir() else 0
    return 0


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
