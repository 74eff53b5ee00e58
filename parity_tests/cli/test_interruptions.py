"""Conversions that end too early: killed, ended politely, out of disk. No half artifact has its final name."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support.commands import called
from support.data import SEARCHED
from support.forks import Forks

from converters import FORMATS
from u2net_zoo import files


@pytest.fixture(scope="module")
def forks(small_file, tmp_path_factory):
    first = tmp_path_factory.mktemp("first")
    started = Forks("convert", small_file, "--to", "pth,onnx", "--size", "64", "-o", first)
    yield started
    started.close()


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_at_any_moment_no_half_artifact_has_its_final_name(forks, small_file, tmp_path):
    """kill -9 after ever longer times; what stands under a final name must load, and only partial folders may stay."""
    command = ["convert", small_file, "--to", "pth,onnx", "--size", "64", "-o"]
    start = time.monotonic()
    assert forks.wait(forks.start(*command, tmp_path / "whole")) == 0
    whole = time.monotonic() - start
    out = tmp_path / "out"
    codes = set()
    for fraction in np.linspace(0.15, 1.2, 6):
        process = forks.start(*command, out)
        time.sleep(whole * fraction)
        os.kill(process, signal.SIGKILL)
        codes.add(forks.wait(process))
        found = [p for p in out.iterdir() if not p.name.endswith(".partial")] if out.exists() else []
        assert {p.name for p in found} <= {"small.pth", "small.onnx"}
        for path in found:
            fmt = next(f for f in FORMATS.values() if f.accepts(path))
            assert fmt.run(path)(np.zeros((1, 3, 64, 64), np.float32))["mask"].shape == (1, 1, 64, 64)
    assert found
    assert -signal.SIGKILL in codes


@pytest.mark.parametrize("name", ["pth", "onnx"])
def test_killed_while_it_writes_only_a_partial_folder_stays_and_the_next_one_removes_it(
    name, forks, small_file, tmp_path
):
    command = ["convert", small_file, "--to", name, "--size", "64", "-o", tmp_path]
    process = forks.start(*command)
    wait_for(lambda: list(tmp_path.iterdir()))
    os.kill(process, signal.SIGKILL)
    assert forks.wait(process) == -signal.SIGKILL
    (partial,) = tmp_path.iterdir()
    assert partial.name.endswith(".partial")
    os.utime(partial, (0, 0))  # as if it had been killed long ago: a fresh one may be at work
    assert forks.wait(forks.start(*command)) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"small.{name}"]


def test_what_a_killed_process_left_is_removed_by_the_next(small_file, tmp_path):
    left = tmp_path / ".small.pth.dead.partial"
    left.mkdir()
    (left / "small.pth").write_bytes(b"half")
    os.utime(left, (0, 0))
    assert called("convert", small_file, "--to", "pth", "--size", "32", "-o", tmp_path).returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["small.pth"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_politely_it_cleans_up(number, forks, small_file, tmp_path):
    process = forks.start("convert", small_file, "--to", "onnx", "--size", "512", "-o", tmp_path)
    wait_for(lambda: list(tmp_path.iterdir()))
    os.kill(process, number)
    assert forks.wait(process) == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_comes_when_the_partial_folder_was_just_made_has_it_removed(tmp_path, monkeypatch):
    def ended(path):
        assert path.parent.is_dir()
        sys.exit(128 + signal.SIGTERM)

    monkeypatch.setattr(files, "FileLock", ended)  # the first thing that is done with the folder
    with pytest.raises(SystemExit), files.staged(tmp_path / "a.pth"):
        pass
    assert list(tmp_path.iterdir()) == []


# Run with the right to mount: each format into a file system of 128 kB, what is said and what is left, as JSON.
FULL = """
import json, os, sys
from support.commands import called
small, disk, *formats = sys.argv[1:]
for name in formats:
    done = called("convert", small, "--to", name, "--size", "64", "-o", disk)
    print(json.dumps([done.returncode, done.stdout, done.stderr, os.listdir(disk)]), flush=True)
"""


@pytest.mark.parametrize(
    "formats", [("pth", "onnx"), pytest.param(("h5", "savedmodel"), marks=pytest.mark.full)], ids=str
)
def test_a_full_disk_is_one_line_and_leaves_nothing(formats, small_file, tmp_path):
    """A real file system of 128 kB, in a mount namespace of its own."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    python = shlex.join([sys.executable, "-c", FULL, str(small_file), str(tmp_path), *formats])
    script = f"mount -t tmpfs -o size=128k none {shlex.quote(str(tmp_path))} && exec {python}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SEARCHED},
    )
    assert done.returncode == 0, done.stderr
    for name, line in zip(formats, done.stdout.splitlines(), strict=True):
        code, out, err, left = json.loads(line)
        assert (code, out, left) == (2, "", []), (name, line)
        assert "No space left" in err, (name, err)
        assert len(err.splitlines()) == 1
