"""The same job handed to Ray Data: the same bytes, and workers that are killed."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.applications import Deadly
from support.commands import called
from support.photographs import PHOTOGRAPHS, photograph

from converters import Options
from u2net_zoo import Session
from u2net_zoo.apps.batch.jobs import jobs_of
from u2net_zoo.apps.batch.local import run
from u2net_zoo.cli.run_application import Opening
from u2net_zoo.errors import MissingExtraError


@pytest.fixture
def photographs(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    whole = photograph("chelsea.png")
    for index in range(4):
        whole.crop((index * 20, 0, index * 20 + 150, 120)).save(folder / f"{index}.jpg")
    (folder / "broken.jpg").write_bytes((folder / "0.jpg").read_bytes()[:500])
    Image.new("RGB", (2, 1)).save(folder / "kills once.png")
    return folder


@pytest.fixture
def pictures(made) -> Path:
    """A converted network with the profile `rembg` in its graph."""
    return made.one("onnx", Options(size=(64, 64), io="image", profile="rembg")).path


@pytest.mark.full
def test_ray_writes_the_same_bytes_and_does_again_what_a_killed_worker_had(
    photographs, pictures, tmp_path, monkeypatch
):
    """Paths are typed from where the command stands, which is not where Ray's workers do."""
    from u2net_zoo.apps.batch import on_ray

    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))  # its workers import `applications`
    monkeypatch.chdir(tmp_path)
    Path("needed.txt").touch()
    opened = Opening(pictures, None, None, None)
    found = {}
    for name, engine in (("ray", on_ray.run), ("local", run)):
        Path(f"room {name}").mkdir()
        jobs = jobs_of(["in"], name, Deadly())
        application = Deadly(memory=str(tmp_path / f"killed {name}"), needed="needed.txt")
        outcomes = list(engine(opened, application, list(enumerate(jobs)), Path(f"room {name}"), workers=1))
        found[name] = {jobs[o.index].name: (o.error, o.size, o.profile, sorted(o.files)) for o in outcomes}
        assert {jobs[o.index].target for o in outcomes if not o.error} == {o.files[""] for o in outcomes if not o.error}
        assert (tmp_path / f"killed {name}").exists()
    assert found["ray"] == found["local"]
    assert [error for error, *_ in found["ray"].values() if error] == [found["ray"]["broken.jpg"][0]]
    assert found["ray"]["broken.jpg"][0].startswith("in/broken.jpg: ")
    assert found["ray"]["0.jpg"][2] == "rembg"
    files = sorted(path.name for path in Path("ray").iterdir())
    assert files == ["0.png", "1.png", "2.png", "3.png", "kills once.png"]
    for name in files:
        assert Path("ray", name).read_bytes() == Path("local", name).read_bytes()
    alone = Session(pictures).mask(Image.open(photographs / "0.jpg"))
    np.testing.assert_array_equal(Image.open(Path("ray", "0.png")), alone)


@pytest.mark.full
def test_ray_says_the_paths_that_were_typed_and_finds_a_background_beside_it(pictures, tmp_path):
    pytest.importorskip("ray.data")
    (tmp_path / "in").mkdir()
    shutil.copy(PHOTOGRAPHS / "chelsea.png", tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "back.png")
    said = {}
    for engine in ("local", "ray"):
        command = ["replace", "in", "-o", "out", "--model", pictures, "--background", "back.png", "--json"]
        done = called(*command, "--engine", engine, "--workers", "1", cwd=tmp_path)
        assert "1 of 2 photographs failed" in done.stderr
        said[engine] = json.loads(done.stdout)
        said[engine]["results"][0].pop("seconds")
    # each of Ray's workers chooses one of its own
    ran = {engine: document.pop("engine") for engine, document in said.items()}
    assert ran == {"local": {"runtime": "onnxruntime", "device": "cpu"}, "ray": None}
    assert said["ray"] == said["local"]
    assert said["ray"]["profile"] == "rembg"  # the one in the graph
    assert said["ray"]["results"][0]["replace"] == "out/a.png"


def test_without_ray_the_extra_is_named(photographs, small_file, tmp_path, monkeypatch):
    from u2net_zoo.apps.batch import on_ray

    monkeypatch.setitem(sys.modules, "ray", None)  # as import statements see a package that is not there
    jobs = list(enumerate(jobs_of([str(photographs)], str(tmp_path), Deadly())))
    with pytest.raises(MissingExtraError, match=r"needs the package 'ray', which is not installed.*\[ray\]"):
        list(on_ray.run(Opening(small_file, None, None, None), Deadly(), jobs, tmp_path))


def test_the_command_hands_photographs_to_ray(photographs, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["mask", photographs, "-o", tmp_path / "out", "--model", pictures]
    done = called(*command, "--engine", "ray")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--engine ray needs the package 'ray', which is not installed" in done.stderr
    assert called(*command, "--address", "auto").returncode == 2  # it goes with --engine ray
