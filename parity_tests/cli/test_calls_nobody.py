"""Nothing phones home: neither this project nor a library that it uses."""

import ast
import os
import subprocess
import sys

import pytest
from support.commands import u2zoo
from support.data import NANO, ROOT
from support.watching import WATCH, watched_calls

from converters.formats.onnx_reports import SWITCH

# Where libraries keep quiet of themselves.
UNSAID = ("CI", "TF_BUILD", "JENKINS_URL", "NO_ALBUMENTATIONS_UPDATE", SWITCH)


@pytest.fixture
def watched(tmp_path) -> dict[str, str]:
    """Surroundings in which every process notes whom it calls."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    kept = {key: value for key, value in os.environ.items() if key not in UNSAID}
    path = os.pathsep.join(filter(None, (str(tmp_path / "watch"), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "U2ZOO_CALLED": str(tmp_path / "called.txt"), "HOME": str(tmp_path)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_call_would_be_seen(watched, tmp_path):
    call = "import os, socket\nif os.fork() == 0:\n  socket.getaddrinfo('example.invalid', 80)\nelse:\n  os.wait()"
    subprocess.run([sys.executable, "-c", call], env=watched, check=True, timeout=60)
    assert "example.invalid" in (tmp_path / "called.txt").read_text()


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_no_conversion_calls_anybody(name, watched, tmp_path):
    done = u2zoo("convert", NANO, "--to", name, "--size", "64", "--out", tmp_path / "out", env=watched)
    assert (done.returncode, watched_calls(tmp_path)) == (0, "")


THREADS = """
import numpy, psutil
before = psutil.Process().num_threads()
{load}
print(psutil.Process().num_threads() - before)
"""
OURS = "from converters.formats.onnx_reports import unreported_onnxruntime as load; load()"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="onnxruntime reports by a thread of its own where systems fork")
@pytest.mark.parametrize(("load", "reports"), [("import onnxruntime", True), (OURS, False)])
def test_onnxruntime_starts_nothing_that_reports(load, reports, watched):
    """Its library opens connections where no hook of Python's sees them: by a thread that starts with its import."""
    command = [sys.executable, "-c", THREADS.format(load=load)]
    done = subprocess.run(command, env=watched, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
    assert (int(done.stdout) > 0) == reports


def test_onnxruntime_is_imported_in_one_place():
    found = []
    for path in [
        *(ROOT / "converters").rglob("*.py"),
        *(ROOT / "u2net_zoo").rglob("*.py"),
        *(ROOT / "scripts").glob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [path.name for name in names if name.partition(".")[0] == "onnxruntime"]
    assert found == ["onnx_reports.py"]


@pytest.mark.full
def test_trying_the_engines_calls_nobody(watched, tmp_path, cat):
    cat.save(tmp_path / "p.png")
    environment = {**watched, "U2ZOO_HOME": str(tmp_path / "home"), "U2ZOO_RUNTIME": "auto"}
    done = u2zoo("mask", tmp_path / "p.png", "-o", tmp_path / "m.png", "--model", NANO, env=environment)
    assert (done.returncode, watched_calls(tmp_path)) == (0, "")
    assert done.stderr.startswith("engine: ")


@pytest.mark.full
def test_no_training_calls_anybody(eight, watched, tmp_path):
    options = ("--augment", "strong", "--steps", "1", "--batch", "2", "--size", "32", "--crop", "32")
    data = ("--images", eight / "images", "--masks", eight / "masks", "--out", tmp_path / "run")
    done = u2zoo("train", *data, "--arch", "u2net_nano", *options, env=watched)
    assert (done.returncode, watched_calls(tmp_path)) == (0, "")
