"""An isolated process where no descriptors are inherited: it calls, has the key, and is never waited for in vain."""

import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest
from support.opening import Here

from converters.isolated import open_isolated, starting
from u2net_zoo.errors import ArtifactError

LIMIT = 30.0


@pytest.fixture
def elsewhere(monkeypatch):
    """A system on which no child inherits descriptors."""
    monkeypatch.setattr(starting, "inherits_descriptors", lambda: False)
    popen = subprocess.Popen

    def started(command, **options):
        assert "pass_fds" not in options
        return popen(command, **options)

    monkeypatch.setattr(starting.subprocess, "Popen", started)


def called(code: str, limit: float = LIMIT):
    with tempfile.TemporaryFile() as log:
        return starting._called([sys.executable, "-c", code], {"stdout": log, "stderr": log}, log, limit)


def test_it_answers_as_an_inherited_one_does(elsewhere, made):
    from converters import Options

    path = made.one("onnx", Options(size=(64, 64), outputs="all")).path
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    with open_isolated(path) as predictor:
        np.testing.assert_array_equal(predictor(x)["mask"], Here(path)(x)["mask"])
        key_is_told = " ".join(predictor.process.args)
        predictor.process.kill()
        with pytest.raises(ArtifactError, match="its runtime's process ended: SIGKILL"):
            predictor(x)
    assert key_is_told.endswith("converters.isolated.worker")  # everybody can read what a process was started with


def test_one_that_ends_before_it_calls_is_an_error_with_its_last_line():
    with pytest.raises(EOFError, match="exit code 3; the library is missing"):
        called("print('the library is missing'); raise SystemExit(3)")


def test_one_that_never_calls_is_given_up_and_killed(monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(starting.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with pytest.raises(TimeoutError):
        called("import time; time.sleep(600)", limit=0.5)
    assert started[0].returncode is not None


def test_whoever_calls_without_the_key_is_sent_away(monkeypatch):
    monkeypatch.setattr(starting, "PATIENCE", 0.3)
    key, process = b"k" * starting.KEY, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with socket.create_server((starting.LOOPBACK, 0)) as door, tempfile.TemporaryFile() as log, process:
        address = door.getsockname()
        wrong, silent, right = (socket.create_connection(address) for _ in range(3))
        wrong.sendall(b"x" * starting.KEY)
        right.sendall(key)
        found = starting._accept(door, key, process, log, time.monotonic() + LIMIT)
        threading.Thread(target=found.send_bytes, args=(b"welcome",)).start()
        assert starting._connection(right).recv_bytes() == b"welcome"
        for stranger in (wrong, silent):
            stranger.settimeout(LIMIT)
            assert stranger.recv(1) == b""
            stranger.close()
        found.close()
