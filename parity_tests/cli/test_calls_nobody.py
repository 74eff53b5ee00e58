"""Nothing phones home: neither this project nor a library that it uses."""

import os
import subprocess
import sys

import pytest
from support.commands import u2zoo
from support.data import NANO
from support.watching import WATCH, watched_calls

UNSAID = ("CI", "TF_BUILD", "JENKINS_URL", "NO_ALBUMENTATIONS_UPDATE")  # where libraries keep quiet of themselves


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


@pytest.mark.full
def test_trying_the_engines_calls_nobody(watched, tmp_path, cat):
    cat.save(tmp_path / "p.png")
    environment = {**watched, "U2ZOO_HOME": str(tmp_path / "home"), "U2ZOO_RUNTIME": "auto"}
    done = u2zoo("mask", tmp_path / "p.png", "-o", tmp_path / "m.png", "--model", NANO, env=environment)
    assert (done.returncode, watched_calls(tmp_path)) == (0, "")
    assert done.stderr.startswith("engine: ")


def test_no_training_calls_anybody(eight, watched, tmp_path):
    options = ("--augment", "strong", "--steps", "1", "--batch", "2", "--size", "32", "--crop", "32")
    data = ("--images", eight / "images", "--masks", eight / "masks", "--out", tmp_path / "run")
    done = u2zoo("train", *data, "--arch", "u2net_nano", *options, env=watched)
    assert (done.returncode, watched_calls(tmp_path)) == (0, "")
