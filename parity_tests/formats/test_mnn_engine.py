"""MNN's engine: lanes, answers that stay, and nobody who is called or started."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from converters import FORMATS, Options
from converters.formats.mnn_runtime import threads as of_a_call
from u2net_zoo.system import processors

FMT = FORMATS["mnn"]


@pytest.fixture(scope="module")
def path(made) -> Path:
    return made.one("mnn", Options(size=(64, 64), outputs="all")).path


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize(
    ("said", "count"), [("1", 1), ("100000", processors()), ("", processors()), ("2,1", processors())]
)
def test_threads_are_the_processors_or_as_few_as_are_asked_for(monkeypatch, said, count):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert of_a_call() == count


def test_lanes_are_sessions_of_their_own(path, x):
    """The second call is inside before the first is done, and both answer what one alone answers."""
    predictor, both = FMT.run(path), Barrier(2)
    assert predictor.share(2) == 2
    alone, session = predictor(x), type(predictor.sessions.get_nowait())
    predictor.share(2)
    run = session.run

    def meeting(self, given, names):
        both.wait(60)
        return run(self, given, names)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr(session, "run", meeting)
        found = list(threads.map(predictor, [x, x]))
    assert all(np.array_equal(each[name], value) for each in found for name, value in alone.items())


def test_an_answer_stays_what_it_was(path, x):
    """The engine's memory is its own: the next call writes to it."""
    predictor = FMT.run(path)
    first = predictor(x)["mask"]
    kept = first.copy()
    predictor(-x)
    assert np.array_equal(first, kept)


ALONE = """
import sys
FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.exec", "os.posix_spawn",
             "os.system", "os.fork", "os.startfile")
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event in FORBIDDEN else None)
from dataclasses import replace
from pathlib import Path
import numpy as np, psutil
from converters import FORMATS
from converters.loading import read_source
source, target = map(Path, sys.argv[1:])
fmt = FORMATS["mnn"]
network = read_source(source)
seen.clear()  # what Python packages of others ask the system at their start
import MNN
options = fmt.settle(replace(fmt.settle(__import__("converters").Options()), size=(64, 64)))
fmt.write(network, target, options)
for exact in (True, False):
    fmt.run(target, exact=exact)(np.zeros((1, 3, 64, 64), np.float32))
read_source(target)
assert psutil.Process().children(recursive=True) == []
assert not psutil.Process().net_connections()
assert not [name for name in sys.modules if name.startswith(("aliyun", "MNN.tools"))]
print("seen", seen)
"""


def test_writing_running_and_reading_call_nobody_and_start_nothing(small_file, tmp_path):
    command = [sys.executable, "-c", ALONE, str(small_file), str(tmp_path / "small.mnn")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "seen []"


def test_the_watch_sees_what_it_is_to_see(small_file, tmp_path):
    loud = ALONE.replace("import MNN\n", "import MNN, subprocess; subprocess.run([sys.executable, '-c', ''])\n")
    command = [sys.executable, "-c", loud, str(small_file), str(tmp_path / "small.mnn")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "subprocess.Popen" in done.stdout
