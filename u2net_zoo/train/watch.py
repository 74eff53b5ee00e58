"""Who watches a run: nobody, or a person at a terminal, whom `u2zoo train` brings."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["Silent", "Watcher"]


class Watcher(Protocol):
    """Told what happens; steps are counted from 1."""

    def run(self, total: int, done: int) -> contextlib.AbstractContextManager[Any]: ...
    def step(self, step: int, loss: float) -> None: ...
    def validated(self, step: int, loss: float, better: bool) -> None: ...
    def skipped(self, name: str, reason: str, times: int) -> None: ...
    def noted(self, text: str) -> None: ...  # before the first step


class Silent:
    """Says nothing."""

    @contextlib.contextmanager
    def run(self, total: int, done: int) -> Iterator[None]:
        yield

    def step(self, step: int, loss: float) -> None:
        pass

    def validated(self, step: int, loss: float, better: bool) -> None:
        pass

    def skipped(self, name: str, reason: str, times: int) -> None:
        pass

    def noted(self, text: str) -> None:
        pass
