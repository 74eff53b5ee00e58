"""Who watches a run: nobody, or a person at a terminal."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["Bar", "Silent", "Watcher"]


class Watcher(Protocol):
    """Told what happens; steps are counted from 1."""

    def run(self, total: int, done: int) -> contextlib.AbstractContextManager[Any]: ...
    def step(self, step: int, loss: float) -> None: ...
    def validated(self, step: int, loss: float, better: bool) -> None: ...
    def skipped(self, name: str, reason: str, times: int) -> None: ...


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


class Bar:
    """A bar with the loss and the time left, and a line per event, on a rich console (stderr).

    Where that is no terminal there is no bar; photographs that are passed over are named all the same.
    """

    def __init__(self, console: Any):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.console = console
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task: Any = None

    @contextlib.contextmanager
    def run(self, total: int, done: int) -> Iterator[None]:
        with self.progress:
            self.task = self.progress.add_task("train", total=total, completed=done, loss="…")
            yield

    def step(self, step: int, loss: float) -> None:
        self.progress.update(self.task, completed=step, loss=f"{loss:.4f}")

    def validated(self, step: int, loss: float, better: bool) -> None:
        if self.console.is_terminal:
            self._say(f"step {step}: validation loss {loss:.4f}{' (best so far)' if better else ''}")

    def skipped(self, name: str, reason: str, times: int) -> None:
        if times == 1:
            self._say(f"skipped: {reason}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
