"""The command line: started as a person starts it, and called in this process, which is a hundred times as quick."""

import contextlib
import dataclasses
import functools
import importlib.util
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TextIO
from unittest import mock

from support.data import ROOT

ENDINGS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
PROGRAM = ROOT / "u2net_zoo" / "__main__.py"
# What Python itself says to a program without -W: (action, category, module); pytest has other rules.
USUAL = (
    ("ignore", ResourceWarning, ""),
    ("ignore", ImportWarning, ""),
    ("ignore", PendingDeprecationWarning, ""),
    ("ignore", DeprecationWarning, ""),
    ("default", DeprecationWarning, "__main__"),
)


def u2zoo(*arguments, **kwargs) -> subprocess.CompletedProcess:
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "u2net_zoo", *map(str, arguments)]
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 300, **kwargs})


def called(
    *arguments, cwd: str | Path | None = None, env: Mapping[str, str] | None = None, input: str | bytes = ""
) -> subprocess.CompletedProcess:
    """Runs the command's `main` in this process and returns what a process would.

    Its streams, working folder, environment, signals, warnings and the command line's own state are as in a process,
    and afterwards what they were. Frameworks that are loaded stay so, and what they took from the environment when
    they were: a claim about start-up, signals or such an environment needs `u2zoo`.
    """
    from u2net_zoo.cli.commands import main

    with contextlib.ExitStack() as stack:
        if cwd is not None:
            stack.enter_context(contextlib.chdir(cwd))
        cleared = {str(key): str(value) for key, value in (env or {}).items()}
        stack.enter_context(mock.patch.dict(os.environ, cleared, clear=env is not None))
        stack.enter_context(_as_the_program(arguments))
        stack.enter_context(_own_state())
        stack.enter_context(_own_signals())
        out, err = (stack.enter_context(_stream(descriptor)) for descriptor in (1, 2))
        stack.enter_context(_input(input))
        stack.enter_context(_own_messages())
        code = _exit_code(main)
    return subprocess.CompletedProcess(["u2zoo", *map(str, arguments)], code, out.getvalue(), err.getvalue())


def _exit_code(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@contextlib.contextmanager
def _as_the_program(arguments: tuple) -> Iterator[None]:
    """`sys.argv`, and a `__main__` that usage lines and worker processes take for `python -m u2net_zoo`."""
    stand_in, before = types.ModuleType("__main__"), sys.modules["__main__"]
    stand_in.__package__, stand_in.__file__ = "u2net_zoo", str(PROGRAM)
    stand_in.__spec__ = importlib.util.spec_from_file_location("u2net_zoo.__main__", PROGRAM)
    sys.modules["__main__"] = stand_in
    try:
        with mock.patch.object(sys, "argv", [str(PROGRAM), *map(str, arguments)]):
            yield
    finally:
        sys.modules["__main__"] = before


@contextlib.contextmanager
def _own_state() -> Iterator[None]:
    """The command line's own, as it is at the start; and no catalog that an earlier command read."""
    from u2net_zoo import catalog
    from u2net_zoo.cli.console import state

    fresh = {field.name: field.default for field in dataclasses.fields(state)}
    catalog._load.cache_clear()
    try:
        with mock.patch.multiple(state, **fresh):
            yield
    finally:
        catalog._load.cache_clear()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """A process's own handlers, whatever those of the tests are."""
    before = {number: signal.getsignal(number) for number in ENDINGS}
    for number in ENDINGS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _own_messages() -> Iterator[None]:
    """Warnings and records of `logging` go to stderr as in a process, not to pytest."""

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings(), mock.patch.object(logging.root, "handlers", []):
        warnings.resetwarnings()
        for action, category, module in USUAL:
            warnings.filterwarnings(action, category=category, module=module)
        warnings.showwarning = show
        yield


class _Written:
    """What was written into a file, once it is closed."""

    def __init__(self) -> None:
        self.content = b""

    def getvalue(self) -> str:
        return self.content.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _stream(descriptor: int) -> Iterator[_Written]:
    """The process's stream `descriptor`, and Python's, write into a file of their own."""
    name, written = {1: "stdout", 2: "stderr"}[descriptor], _Written()
    with tempfile.TemporaryFile() as sink, _turned(descriptor, name, sink):
        yield written
        _lasting(descriptor).flush()
        sink.seek(0)
        written.content = sink.read()


@contextlib.contextmanager
def _turned(descriptor: int, name: str, sink: BinaryIO) -> Iterator[None]:
    getattr(sys, name).flush()
    saved = os.dup(descriptor)
    os.dup2(sink.fileno(), descriptor)
    try:
        with mock.patch.object(sys, name, _lasting(descriptor)):
            yield
    finally:
        _lasting(descriptor).flush()
        os.dup2(saved, descriptor)
        os.close(saved)


@functools.cache
def _lasting(descriptor: int) -> TextIO:
    """Python's stream onto `descriptor`, wherever that leads. It is never closed: a framework that is loaded
    meanwhile may keep it for its messages."""
    usual = {1: sys.__stdout__, 2: sys.__stderr__}[descriptor]
    return open(descriptor, "w", encoding="utf-8", errors=usual.errors, closefd=False, buffering=1)


@contextlib.contextmanager
def _input(content: str | bytes) -> Iterator[None]:
    """Standard input, for Python: it ends after `content`."""
    raw = content.encode() if isinstance(content, str) else content
    with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8")):
        yield


def left(home: Path) -> list[str]:
    """What the cache holds, without the locks."""
    return sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and p.name != ".lock")
