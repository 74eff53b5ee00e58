"""An environment of the extra `run`: onnxruntime and no framework beside it gives the masks that Torch gives."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import ROOT
from support.photographs import PHOTOGRAPHS
from support.serving import Served

from converters import Options
from u2net_zoo import Session
from u2net_zoo.apps.objects import objects
from u2net_zoo.preprocessing import read_image

pytestmark = pytest.mark.full
OURS = ("PYTHONPATH", "U2ZOO_RUNTIME")  # of these tests: the environment has its own packages, and no Torch
HEAVY = ("torch", "tensorflow", "keras", "skimage", "scipy", "cv2", "onnx", "matplotlib")
NAMES = ("astronaut.png", "chelsea.png", "coffee.png")
LARGEST = 280  # MB: a third of what rembg's `[cpu,cli]` takes


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """Made once, outside of the checkout, from its wheel."""
    folder = tmp_path_factory.mktemp("run")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    install(programs, "run")
    return programs


def install(programs: Path, extra: str) -> None:
    folder = programs.parent.parent
    (wheel,) = folder.glob("*.whl")
    command = [programs / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[{extra}]"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if "Could not find a version" in installed.stderr or "Retrying" in installed.stderr:
        pytest.skip(f"needs a package index: {installed.stderr.splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr


@pytest.fixture
def run(environment, tmp_path):
    def start(*arguments, program="u2zoo") -> str:
        variables = {name: value for name, value in os.environ.items() if name not in OURS}
        variables["U2ZOO_HOME"] = str(tmp_path / "home")
        command = [environment / program, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    return start


@pytest.fixture(scope="module")
def in_torch():
    session = Session("u2net_nano")
    return {name: session.mask(read_image(PHOTOGRAPHS / name)) for name in NAMES}


def apart(path: Path, mask: Image.Image) -> int:
    return int(abs(np.asarray(Image.open(path).convert("L"), int) - np.asarray(mask, int)).max())


def test_it_is_small(environment, run):
    code = "import importlib.util as u, json, sys; print(json.dumps([n for n in sys.argv[1:] if u.find_spec(n)]))"
    assert json.loads(run("-c", code, *HEAVY, program="python")) == []
    ready = {row["name"] for row in json.loads(run("formats", "--json"))["formats"] if row["runs"]}
    assert ready == {"safetensors", "onnx", "web"}
    files = (path for path in environment.parent.rglob("*") if path.is_file() and not path.is_symlink())
    assert sum(path.stat().st_size for path in files) / 1e6 < LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_masks_of_the_default_are_torchs(run, in_torch, tmp_path, name):
    run("mask", PHOTOGRAPHS / name, "-o", "mask.png")
    assert apart(tmp_path / "mask.png", in_torch[name]) <= 1


def test_files_are_run_and_described(run, in_torch, nano_made, tmp_path):
    for io, takes in (("tensor", "normalised"), ("image", "pixels")):
        path = nano_made.one("onnx", Options(io=io)).path
        session = Session(path)
        run("mask", PHOTOGRAPHS / NAMES[0], "--model", path, "-o", "mask.png")
        assert apart(tmp_path / "mask.png", session.mask(read_image(PHOTOGRAPHS / NAMES[0]))) <= 1
        found = json.loads(run("info", path, "--json"))
        assert (found["input"]["size"], found["input"]["takes"]) == (list(session.size), takes)
        assert found["answers"] == ["mask"]


def test_every_light_application_works(run, in_torch, tmp_path):
    name = NAMES[0]
    for command in (["cutout"], ["replace", "--background", "white"], ["highlight"], ["crop"]):
        run(*command, PHOTOGRAPHS / name, "-o", f"{command[0]}.png")
    run("mask", PHOTOGRAPHS / name, "--postprocess", "--threshold", "0.5", "-o", "hard.png")
    assert set(np.unique(Image.open(tmp_path / "hard.png"))) == {0, 255}
    run("boxes", PHOTOGRAPHS / name, "-o", "boxes.png")
    found = json.loads((tmp_path / "boxes.json").read_text())
    assert len(found["annotations"]) == len(objects(in_torch[name]))
    assert {Image.open(tmp_path / f"{made}.png").size for made in ("cutout", "replace", "highlight")} == {
        in_torch[name].size
    }


def test_weights_run_through_a_folder_with_workers(run, in_torch, tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in NAMES:
        (photographs / name).write_bytes((PHOTOGRAPHS / name).read_bytes())
    weights = ROOT / "weights" / "u2net_nano.safetensors"
    run("mask", photographs, "--model", weights, "--workers", "2", "-o", "masks")
    for name in NAMES:
        assert apart(tmp_path / "masks" / name, in_torch[name]) <= 1


def test_sessions_and_errors(run, environment, tmp_path):
    code = (
        "import sys; from u2net_zoo import Session; from u2net_zoo.preprocessing import read_image;"
        "print(Session('u2net_nano').mask(read_image(sys.argv[1])).size, 'torch' in sys.modules)"
    )
    image = PHOTOGRAPHS / NAMES[0]
    width, height = Image.open(image).size
    assert run("-c", code, image, program="python").strip() == f"({width}, {height}) False"
    done = subprocess.run(
        [environment / "u2zoo", "convert", "u2net_nano", "--to", "onnx", "-o", "out"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 2
    assert b"needs the package 'torch'" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_server_needs_its_own_extra_and_no_more(environment, in_torch, tmp_path, monkeypatch):
    install(environment, "serve")
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    served = Served("u2net_nano", python=environment / "python", folder=tmp_path)
    try:
        answer = served.post((PHOTOGRAPHS / NAMES[0]).read_bytes())
        assert answer.status_code == 200, answer.text
        (tmp_path / "served.png").write_bytes(answer.content)
        assert apart(tmp_path / "served.png", in_torch[NAMES[0]]) <= 1
    finally:
        served.process.kill()
        served.process.wait()
