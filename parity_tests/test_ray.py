"""The same job handed to Ray Data: the same bytes, and workers that are killed."""

import sys
from pathlib import Path

import numpy as np
import pytest
from applications import Deadly
from conftest import DATA, needs
from PIL import Image

from converters import Options, convert
from u2net_zoo import Session
from u2net_zoo.apps.jobs import jobs_of
from u2net_zoo.apps.run import run
from u2net_zoo.cli.many import Opening
from u2net_zoo.errors import MissingExtraError


@pytest.fixture
def photographs(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    whole = Image.open(needs(DATA / "sod" / "images" / "girl.png")).convert("RGB")
    for index in range(4):
        whole.crop((index * 20, 0, index * 20 + 150, 120)).save(folder / f"{index}.jpg")
    (folder / "broken.jpg").write_bytes((folder / "0.jpg").read_bytes()[:500])
    Image.new("RGB", (2, 1)).save(folder / "kills once.png")
    return folder


def test_ray_writes_the_same_bytes_and_does_again_what_a_killed_worker_had(
    photographs, small_file, tmp_path, monkeypatch
):
    from u2net_zoo.apps import on_ray

    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))  # its workers import `applications`
    model = convert(small_file, "onnx", tmp_path, options=Options(size=(128, 128)))[0].path
    opened = Opening(model, None, None)
    found = {}
    for name, engine in (("ray", on_ray.run), ("local", run)):
        (tmp_path / f"room {name}").mkdir()
        jobs = jobs_of([str(photographs)], str(tmp_path / name), Deadly())
        application = Deadly(memory=str(tmp_path / f"killed {name}"))
        outcomes = list(engine(opened, application, list(enumerate(jobs)), tmp_path / f"room {name}", workers=1))
        found[name] = {jobs[o.index].name: o.error for o in outcomes}
    assert found["ray"] == found["local"]
    assert [name for name, error in found["ray"].items() if error] == ["broken.jpg"]
    assert (tmp_path / "killed ray").exists()
    files = sorted(path.name for path in (tmp_path / "ray").iterdir())
    assert files == ["0.png", "1.png", "2.png", "3.png", "kills once.png"]
    for name in files:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    alone = Session(model).mask(Image.open(photographs / "0.jpg"))
    np.testing.assert_array_equal(Image.open(tmp_path / "ray" / "0.png"), alone)


def test_without_ray_the_extra_is_named(photographs, small_file, tmp_path, monkeypatch):
    from u2net_zoo.apps import on_ray

    monkeypatch.setitem(sys.modules, "ray", None)  # as import statements see a package that is not there
    jobs = list(enumerate(jobs_of([str(photographs)], str(tmp_path), Deadly())))
    with pytest.raises(MissingExtraError, match=r"needs the package 'ray', which is not installed.*\[ray\]"):
        list(on_ray.run(Opening(small_file, None, None), Deadly(), jobs, tmp_path))
