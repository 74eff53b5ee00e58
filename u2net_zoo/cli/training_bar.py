"""The progress of `u2zoo train`."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, TextIO

from .terminal import progress_bar

__all__ = ["TrainingBar"]

LINES_APART = 60  # seconds


class TrainingBar:
    """A `train.watch.Watcher`: a bar with the loss and the time left, and a line per event, on `stream` (stderr).

    Where that is no terminal there is no bar, but a line from time to time; photographs that are passed over are named
    all the same.
    """

    def __init__(self, stream: TextIO):
        loss = "loss {task.fields[loss]}"
        self.progress = progress_bar(stream, "training", "bar", "count", loss, "elapsed", "left", "remaining")
        self.task: Any = None
        self.said = time.monotonic()

    @contextlib.contextmanager
    def run(self, total: int, done: int) -> Iterator[None]:
        with self.progress:
            self.task = self.progress.add_task("train", total=total, completed=done, loss="…")
            yield

    def step(self, step: int, loss: float) -> None:
        self.progress.update(self.task, completed=step, loss=f"{loss:.4f}")
        if not self.progress.console.is_terminal and time.monotonic() - self.said >= LINES_APART:
            self.said = time.monotonic()
            self._say(f"step {step} of {self.progress.tasks[0].total:.0f}: loss {loss:.4f}")

    def validated(self, step: int, loss: float, better: bool) -> None:
        if self.progress.console.is_terminal:
            self._say(f"step {step}: validation loss {loss:.4f}{' (best so far)' if better else ''}")

    def skipped(self, name: str, reason: str, times: int) -> None:
        if times == 1:
            self._say(f"skipped: {reason}")

    def noted(self, text: str) -> None:
        self._say(f"warning: {text}")

    def _say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
