"""The end of a command: quick, and nothing that is still to be done is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from u2net_zoo.system import c_function

BEGIN = "import atexit, sys, threading, time\nfrom u2net_zoo.cli.leaving import leave\n"
AT_EXIT = "atexit.register(print, 'at exit', end='')\n"


def python(text: str, **kwargs) -> subprocess.CompletedProcess:
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings = {**streams, "text": True, "timeout": 60, "env": surroundings, **kwargs}
    return subprocess.run([sys.executable, "-c", BEGIN + text], **settings)


@pytest.mark.parametrize(("code", "ends"), [("None", 0), ("0", 0), ("2", 2), ("130", 130)])
def test_exit_functions_run_and_all_is_printed(code, ends):
    done = python(
        f"{AT_EXIT}print('x' * 99999, end=' ')\nprint('said', file=sys.stderr, end='')\nleave({code})\nprint(1)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (ends, "x" * 99999 + " at exit", "said")


def test_the_interpreter_is_not_taken_down():
    done = python("class A:\n    def __del__(self): print('freed')\nkept = A()\nleave(0)")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "why",
    [
        "threading.Thread(target=time.sleep, args=(0.2,)).start()",
        "sys.setprofile(lambda *arguments: None)",
        "sys.settrace(lambda *arguments: None)",
    ],
)
def test_whoever_has_something_left_to_do_may_do_it(why):
    done = python(f"{AT_EXIT}{why}\nleave(0)\nprint('as usual', end=' ')")
    assert (done.returncode, done.stdout) == (0, "as usual at exit")


def test_a_profiler_keeps_what_it_found(tmp_path):
    command = [sys.executable, "-m", "cProfile", "-o", tmp_path / "found", "-m", "u2net_zoo", "--version"]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    assert (tmp_path / "found").stat().st_size > 1000


@pytest.mark.skipif(c_function("fflush") is None, reason="needs a C library that can be asked by name")
def test_what_c_libraries_hold_is_written(tmp_path):
    lines = (
        "import ctypes",
        "c = ctypes.CDLL(None)",
        "c.fopen.restype = ctypes.c_void_p",
        f"file = c.fopen({os.fsencode(tmp_path / 'f')!r}, b'w')",
        "c.fputs(b'held', ctypes.c_void_p(file))",
        "c.printf(b'said')",
        "leave(0)",
        "print('as usual')",
    )
    done = python("\n".join(lines))
    assert (done.stdout, (tmp_path / "f").read_text()) == ("said", "held")


def test_another_thread_ends_nothing():
    done = python("threading.Thread(target=leave, args=(3,), daemon=True).start()\ntime.sleep(0.2)\nprint('here')")
    assert (done.returncode, done.stdout) == (0, "here\n")


def test_a_message_is_left_to_the_interpreter():
    done = python("leave('words')\nsys.exit('words')")
    assert (done.returncode, done.stderr) == (1, "words\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_printed_is_an_error_as_ever():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = python("print('lost')\nleave(0)", stdout=full)
    assert done.returncode == 120  # what Python itself ends with
    assert "No space left" in done.stderr
