"""Where commands print: results on stdout, progress and errors on stderr; frameworks are kept quiet."""

import codecs
import contextlib
import io
import json
import math
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

from ..errors import AssumptionWarning
from ..streams import flush_c_streams
from .terminal import INDENT, folded, print_table, progress_bar, width_of

__all__ = ["State", "human_bytes", "say_anything", "state"]

TOLERANT = "u2zoo"  # what to do about characters that a terminal or a file cannot show
# Our own words, for terminals of few characters; anything else is shown by its number.
PLAIN = {"²": "2", "³": "3", "×": "x", "·": "*", "…": "...", "–": "-", "—": "-", "−": "-", "─": "-", "│": "|"}
PLAIN |= {"├": "|", "└": "`", "Δ": "d", "≈": "~", "±": "+-", "α": "alpha", "β": "beta", "→": "->", "≥": ">=", "≤": "<="}


@dataclass
class State:
    """The command's surroundings: whether to show what is normally hidden."""

    debug: bool = False
    json: bool = False
    out: TextIO | None = None
    err: TextIO | None = None
    bar: Any = None

    def result(self, *parts: object, indent: int = INDENT) -> None:
        """A result for people: one line where it fits, see `terminal.folded`; silent under --json."""
        if not self.json:
            with self._without_bar():
                stream = self.out or sys.stdout
                print(folded(parts, width_of(stream), indent), file=stream, flush=True)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
        """A table for people; silent under --json."""
        if not self.json:
            print_table(self.out or sys.stdout, headings, rows, title)

    def width(self) -> int | None:
        """Columns for results; None where any line will do."""
        return width_of(self.out or sys.stdout)

    def document(self, value: Any) -> None:
        """The one JSON object on stdout, under --json."""
        if self.json:
            print(json.dumps(_finite_values(value), indent=2, allow_nan=False), file=self.out or sys.stdout, flush=True)

    def line(self, value: Any) -> None:
        """One of many JSON objects on stdout, each on a line of its own, under --json."""
        if self.json:
            print(json.dumps(_finite_values(value), allow_nan=False), file=self.out or sys.stdout, flush=True)

    def warn(self, text: str) -> None:
        self.note(f"warning: {text}")

    def note(self, text: str) -> None:
        """A line that is no result, on stderr."""
        with self._without_bar():
            print(text, file=self.err or sys.stderr, flush=True)

    @contextlib.contextmanager
    def _without_bar(self) -> Iterator[None]:
        """Takes the progress bar off the terminal for a line of output."""
        if self.bar is None:
            yield
            return
        self.bar.stop()
        yield
        self.bar.start()

    def fail(self, text: str, error: BaseException, code: int) -> NoReturn:
        """One line and an exit code; with --debug the traceback too."""
        if self.debug:
            traceback.print_exception(error)
        print(f"error: {' '.join(text.split())}", file=sys.stderr, flush=True)
        sys.exit(code)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Hides what libraries write to the process's stdout and stderr, below Python too; our own lines still show."""
        with self._assumptions():
            if self.debug:
                yield
            else:
                with self._hidden():
                    yield

    @contextlib.contextmanager
    def _assumptions(self) -> Iterator[None]:
        """An AssumptionWarning is a line of ours, once each."""
        said: set[str] = set()
        with warnings.catch_warnings():
            warnings.simplefilter("always", AssumptionWarning)
            usual = warnings.showwarning

            def show(message: Warning | str, category: type[Warning], *rest: Any, **kwargs: Any) -> None:
                if not issubclass(category, AssumptionWarning):
                    usual(message, category, *rest, **kwargs)
                elif str(message) not in said:
                    said.add(str(message))
                    self.warn(str(message))

            warnings.showwarning = show
            yield

    @contextlib.contextmanager
    def _hidden(self) -> Iterator[None]:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(tempfile.TemporaryFile())
            self.out, self.err = (stack.enter_context(_divert(number, sink.fileno())) for number in (1, 2))
            try:
                yield
            finally:
                self.out = self.err = None

    @contextlib.contextmanager
    def progress(self, total: int | None = None, *, in_bytes: bool = False) -> Iterator[Any]:
        """A progress bar on stderr, hidden when stderr is no terminal."""
        columns = ("spinner", "{task.description}", "bar", "bytes" if in_bytes else "count", "elapsed", "remaining")
        with progress_bar(self.err or sys.stderr, *columns) as bar:
            bar.add_task("", total=total)
            self.bar = bar
            try:
                yield bar
            finally:
                self.bar = None


@contextlib.contextmanager
def _divert(descriptor: int, sink: int) -> Iterator[TextIO]:
    """The process's stream `descriptor` goes to `sink`; yields a stream to where it went before."""
    streams = {1: sys.stdout, 2: sys.stderr}
    streams[descriptor].flush()
    saved = os.dup(descriptor)
    os.dup2(sink, descriptor)
    try:
        encoding = streams[descriptor].encoding or "utf-8"
        with os.fdopen(os.dup(saved), "w", encoding=encoding, errors=TOLERANT) as before:
            yield before
    finally:
        streams[descriptor].flush()
        flush_c_streams()
        os.dup2(saved, descriptor)
        os.close(saved)


def say_anything() -> None:
    """From now on no character stops the program's output, whatever the terminal or a file can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a program without a console has none
            stream.reconfigure(errors=TOLERANT)


def _shown(error: UnicodeError) -> tuple[bytes, int]:
    """What is written for characters that an encoding lacks: names of files as the system gave them, ours in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return b"".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> bytes:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a name that is no text
        return bytes([ord(character) - 0xDC00])
    return PLAIN.get(character, "").encode() or character.encode("ascii", "backslashreplace")


codecs.register_error(TOLERANT, _shown)


def _finite_values(value: Any) -> Any:
    """Plain values with null where a number is none: JSON knows no infinity."""
    if isinstance(value, dict):
        return {key: _finite_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


state = State()


def human_bytes(count: int) -> str:
    """`4.6 MB`, in thousands."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
