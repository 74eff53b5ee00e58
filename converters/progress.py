"""How far a long step of a conversion is: said where the work is done, shown by whoever asked for it."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

__all__ = ["Watcher", "report", "watched"]

Watcher = Callable[[str], None]
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def report(text: str) -> None:
    """Says what is being done, `measuring layers 12/106`, to the watcher if there is one."""
    watcher = _watcher.get()
    if watcher:
        watcher(text)


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within the block `watcher` is called with what is being done."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)
