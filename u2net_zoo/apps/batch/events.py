"""When to look at a folder again: the system says that something changed there, or a clock does."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

from ...errors import MissingExtraError, OutputError

__all__ = ["Clock", "Wakes", "native"]

SLICE = 1.0  # seconds: where waiting cannot be interrupted, Ctrl-C is heard after this
CHANGES = frozenset(
    {"created", "modified", "moved", "closed", "deleted"}
)  # not that somebody, such as we, has read a file


class Wakes(Protocol):
    """Waits until a folder is worth a look."""

    def wait(self, seconds: float | None) -> bool:
        """Waits that long at most, None: for good; whether the folder may have changed."""
        ...


class Clock:
    """Says after every `interval` seconds that the folder may have changed, for file systems that tell nothing."""

    def __init__(self, interval: float):
        self.interval = interval
        self.next = time.monotonic() + interval

    def wait(self, seconds: float | None) -> bool:
        left = self.next - time.monotonic()
        time.sleep(max(0.0, min(left, self.interval if seconds is None else seconds)))
        if time.monotonic() < self.next:
            return False
        self.next = time.monotonic() + self.interval
        return True


@contextlib.contextmanager
def native(folder: str, results: str, *, recursive: bool) -> Iterator[Wakes]:
    """The system's own events, by watchdog: inotify, FSEvents, ReadDirectoryChangesW; not those in `results`, ours.

    Raises:
        MissingExtraError: watchdog is not installed. OutputError: the system watches no more folders.
    """
    try:
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer
    except ModuleNotFoundError:
        raise MissingExtraError("watch", "watchdog", "watch") from None
    waiting = _Waiting()
    ours = os.path.realpath(results)

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            paths = [os.path.realpath(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
            if event.event_type in CHANGES and not all(_is_below(path, ours) for path in paths):
                waiting.changed.set()

    observer: Any = Observer()
    try:
        observer.schedule(Handler(), folder, recursive=recursive)
        observer.start()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be watched: {error.strerror or error}; look every 5 s: --poll 5") from None
    try:
        yield waiting
    finally:
        observer.stop()
        observer.join()


class _Waiting:
    def __init__(self) -> None:
        self.changed = threading.Event()

    def wait(self, seconds: float | None) -> bool:
        end = None if seconds is None else time.monotonic() + seconds
        while not self.changed.wait(SLICE if end is None else max(0.0, min(SLICE, end - time.monotonic()))):
            if end is not None and time.monotonic() >= end:
                return False
        self.changed.clear()
        return True


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)
