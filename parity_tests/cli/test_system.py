"""`system`: what it says of this one, and what it would say of others."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path, PureWindowsPath

import pytest
from support.commands import called
from support.data import ROOT

from u2net_zoo import files, system
from u2net_zoo.apps.batch.jobs import jobs_of
from u2net_zoo.apps.cutout import Cutout
from u2net_zoo.apps.mask import Mask
from u2net_zoo.errors import CheckpointError, InputError, OutputError
from u2net_zoo.limits import inside
from u2net_zoo.sources import locate, profile_of


def test_peak_memory_is_at_least_what_is_held():
    held = bytearray(os.urandom(1 << 20) * 300)
    assert len(held) < system.peak_memory() < 1 << 40


def test_windows_is_asked_for_memory_as_it_wants_to_be_asked(monkeypatch):
    """The structure is 72 bytes on 64 bits, and says so itself; a call that fails is 0, not rubbish."""
    seen = []

    class Kernel:
        def __init__(self, name):
            def tell(process, counters, size):
                seen.append((name, process, counters.cb, size))
                counters.PeakWorkingSetSize = 5_000_000_000
                return len(seen) == 1

            self.GetCurrentProcess, self.K32GetProcessMemoryInfo = lambda: -1, tell

    monkeypatch.setattr(ctypes, "WinDLL", Kernel, raising=False)
    assert [system._peak_working_set(), system._peak_working_set()] == [5_000_000_000, 0]
    assert seen[0] == ("kernel32", -1, 72, 72)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits are POSIX's")
def test_a_limit_is_lowered_and_never_raised():
    code = "import resource; from u2net_zoo.system import limit_process as limit; "
    code += "limit(50, 1 << 33); limit(40, 1 << 34); print(*(resource.getrlimit(r)[1] for r in (0, 9)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["40", str(1 << 33)], done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGTERM, "SIGTERM"),
        (-63, "signal 63"),
        (0xC0000005, "access violation"),
        (0xC00000FD, "stack overflow"),
    ],
)
def test_how_a_process_ended_has_a_name_on_every_system(code, said):
    assert system.ending(code) == said


def test_a_file_that_is_held_for_a_moment_is_replaced_when_it_is_free(tmp_path, monkeypatch):
    real, refusals = os.replace, [PermissionError(errno.EACCES, "in use")] * 2

    def replace(source, target):
        if refusals:
            raise refusals.pop()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with files.staged(tmp_path / "result") as path:
        path.write_text("new")
    assert (tmp_path / "result").read_text() == "new"
    assert refusals == []


def test_a_file_that_is_held_for_good_is_one_line_and_nothing_is_left(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, "in use by another process", str(source))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(system, "PATIENCE", 0.1)
    with pytest.raises(OutputError, match="result: cannot write there: in use"), files.staged(tmp_path / "result") as p:
        p.write_text("new")
    assert list(tmp_path.iterdir()) == []


def test_two_results_within_a_clock_tick_have_a_name_each(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "monotonic_ns", lambda: 15_600_000)
    with files.staged_in(tmp_path, tmp_path / "a") as one, files.staged_in(tmp_path, tmp_path / "b") as other:
        one.write_text("a")
        other.write_text("b")
    assert [(tmp_path / name).read_text() for name in "ab"] == ["a", "b"]


@pytest.mark.parametrize("source", [r"C:\weights\u2net.pth", "C:/weights/u2net.pth", "c:u2net", r"\\host\u2net.pth"])
def test_a_drive_is_a_path_and_no_address_and_no_name_of_the_catalog(source):
    with pytest.raises(InputError) as caught:
        locate(source)
    assert str(caught.value).startswith(f"{source}: no such file")
    assert profile_of(source, "u2net_human_seg") == "paper"


@pytest.mark.parametrize("relative", [r"C:\x", "C:/x", "c:x", r"..\x", r"a\b", "//host/share/x"])
def test_what_windows_takes_for_another_folder_is_refused_everywhere(relative, tmp_path):
    with pytest.raises(CheckpointError, match="refused"):
        inside(tmp_path, relative)


def test_names_in_tables_have_slashes_on_windows(monkeypatch):
    monkeypatch.setattr(system, "PurePath", PureWindowsPath)
    assert system.slashed(r"holiday\more\cat.png") == "holiday/more/cat.png"


@pytest.fixture
def one_case(monkeypatch):
    monkeypatch.setattr(system, "ONE_CASE", True)


def pictures(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    return [str(folder / name) for name in names]


def test_names_that_differ_in_case_alone_are_no_one_file_where_case_does_not_count(one_case, tmp_path):
    sources = pictures(tmp_path, "x/Cat.jpg", "y/cat.jpg")
    with pytest.raises(OutputError, match="would be the result of both"):
        jobs_of(sources, str(tmp_path / "out"), Mask())
    targets = [Path(job.target).name for job in jobs_of(pictures(tmp_path, "x/Dog.jpg", "x/dog.png"), "out", Mask())]
    assert targets == ["Dog.jpg.png", "dog.png.png"]


def test_where_case_counts_they_are_two(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "ONE_CASE", False)
    jobs = jobs_of(pictures(tmp_path, "x/Cat.jpg", "y/cat.jpg"), str(tmp_path / "out"), Cutout())
    assert [Path(job.target).name for job in jobs] == ["Cat.png", "cat.png"]


def test_a_photograph_is_not_replaced_under_a_name_in_another_case(one_case, tmp_path):
    """A link stands for what one folder has under both names where case does not count."""
    (source,) = pictures(tmp_path, "CAT.PNG")
    os.link(source, tmp_path / "cat.png")
    done = called("mask", source, "-o", tmp_path / "cat.png")
    assert done.returncode == 2
    assert (
        done.stderr == f"error: {tmp_path / 'cat.png'}: would replace a file that is read; name another place with -o\n"
    )


def test_a_port_that_is_taken_is_not_shared():
    with socket.socket() as one, socket.socket() as other:
        for listening in (one, other):
            system.take_address(listening)
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.raises(OSError, match="in use"):
            other.bind(one.getsockname())
