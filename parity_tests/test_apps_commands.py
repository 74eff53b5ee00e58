"""The applications as commands: whose profile a file gets, what people are told, and what is gone on with."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cats import PHOTOGRAPHS
from conftest import DATA, needs, u2zoo
from PIL import Image

from converters import Options, convert
from u2net_zoo import Session
from u2net_zoo.apps.composite import Composite
from u2net_zoo.apps.cutout import Cutout
from u2net_zoo.apps.highlight import Highlight
from u2net_zoo.apps.jobs import jobs_of
from u2net_zoo.apps.journal import ROOM, journal
from u2net_zoo.apps.mask import Mask
from u2net_zoo.apps.portrait import Portrait
from u2net_zoo.apps.replace import Replace
from u2net_zoo.preprocessing import read_image, to_rgb
from u2net_zoo.sources import profile_of

CAT = PHOTOGRAPHS / "chelsea.png"


@pytest.fixture(scope="module")
def artifact(small_file, tmp_path_factory) -> Path:
    """A converted network that takes tensors of one size."""
    folder = tmp_path_factory.mktemp("artifact")
    return convert(small_file, "onnx", folder, options=Options(size=(64, 64)))[0].path


@pytest.fixture(scope="module")
def pictures(small_file, tmp_path_factory) -> Path:
    """A converted network with the profile `rembg` in its graph."""
    folder = tmp_path_factory.mktemp("pictures")
    options = Options(size=(64, 64), io="image", profile="rembg")
    return convert(small_file, "onnx", folder, options=options)[0].path


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# --- profiles


def test_a_file_is_fed_as_the_applications_own_weights(artifact, tmp_path):
    photograph = needs(DATA / "portrait" / "images" / "img_1585.png")
    done = u2zoo("portrait", "--ready", photograph, "-o", tmp_path / "d.png", "--model", artifact, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["profile"] == "portrait"
    expected = Session(artifact, profile="portrait").mask(read_image(photograph))
    np.testing.assert_array_equal(read(tmp_path / "d.png"), expected)


def test_weights_in_a_file_are_fed_at_the_size_of_the_applications_own(small_file):
    profile = Composite().profile(profile_of(small_file, Composite.model))
    assert (profile, Session(small_file, profile=profile).size) == ("portrait", (512, 512))


def test_faces_that_are_found_are_fed_as_the_demo_does_and_ready_ones_as_the_test(small_file):
    for source in (small_file, Portrait.model):
        own = profile_of(source, Portrait.model)
        assert (Portrait().profile(own), Portrait(ready=True).profile(own)) == ("portrait-demo", "portrait")


@pytest.mark.parametrize(
    ("source", "kind", "profile"),
    [
        ("u2netp", "skyseg", "paper"),
        ("u2net_nano", "u2net_portrait", "paper"),
        ("isnet-anime", "skyseg", "isnet-anime"),
    ],
)
def test_a_name_of_the_catalog_keeps_its_own_profile(source, kind, profile):
    assert profile_of(source, kind) == profile


def test_a_profile_in_the_graph_and_one_that_is_named_win(pictures, artifact, tmp_path):
    for model, options, profile in ((pictures, (), "rembg"), (artifact, ("--profile", "isnet"), "isnet")):
        done = u2zoo("sky", CAT, "-o", tmp_path / "m.png", "--model", model, "--json", *options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["profile"] == profile


def test_help_says_how_files_are_fed():
    text = " ".join(u2zoo("sky", "--help", env={**os.environ, "COLUMNS": "400"}).stdout.split())
    assert "as skyseg is fed (sky) for a file" in text


def test_the_demo_is_fed_as_in_its_own_lines():
    """The authors' lines: BGR as OpenCV reads it, and each colour's statistics those of its opposite."""
    from u2net_zoo.preprocessing import PROFILES

    face = to_rgb(read_image(needs(DATA / "portrait" / "images" / "img_1585.png")))
    bgr = np.asarray(face)[..., ::-1] / np.asarray(face).max()
    planes = [(bgr[..., 2] - 0.406) / 0.225, (bgr[..., 1] - 0.456) / 0.224, (bgr[..., 0] - 0.485) / 0.229]
    found = PROFILES["portrait-demo"].tensor(face, (512, 512))
    np.testing.assert_allclose(found[0], np.stack(planes), atol=1e-6)


# --- commands


def test_the_sky_is_found_by_a_pair_of_files(tmp_path):
    weights = needs(DATA / "weights" / "skyseg_u2netp_fp16.ncnn.param")
    photograph = needs(DATA / "sky" / "images" / "test_572.jpg")
    done = u2zoo("sky", photograph, "-o", tmp_path / "m.png", "--model", weights, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["profile"] == "sky"
    found, known = (np.asarray(p.convert("L")) > 127 for p in (
        Image.open(tmp_path / "m.png"), Image.open(DATA / "sky" / "masks" / "test_572.png"),
    ))  # fmt: skip
    assert (found & known).sum() / (found | known).sum() > 0.9


def test_commands_give_what_their_applications_make_of_the_bundled_weights_mask(tmp_path):
    image = read_image(CAT)
    mask = Session("u2net_nano").mask(image)
    for application, options in (
        (Cutout(matting="guided"), ("--matting", "guided")),
        (Replace(background="#20c0a0"), ("--background", "#20c0a0")),
        (Highlight(dim=0.5), ("--dim", "0.5")),
    ):
        done = u2zoo(application.name, CAT, "-o", tmp_path / "r.png", *options)
        assert (done.returncode, done.stderr) == (0, "")
        np.testing.assert_array_equal(read(tmp_path / "r.png"), application.after(image, mask).pictures[""])


def test_warnings_are_said_for_one_photograph_and_for_many(artifact, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (90, 60), "white").save(folder / name)
    one = u2zoo("portrait", folder / "a.png", "-o", tmp_path / "d.png", "--model", artifact)
    assert (one.returncode, one.stderr) == (0, "warning: a.png: no face was found: the whole picture is drawn\n")
    many = u2zoo("portrait", folder, "-o", tmp_path / "out", "--model", artifact)
    assert many.returncode == 0
    assert sorted(many.stderr.splitlines()) == [
        f"warning: {name}: no face was found: the whole picture is drawn" for name in ("a.png", "b.png")
    ]


# --- going on


def test_photographs_that_failed_are_done_alone_after_they_were_mended(artifact, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(CAT, folder / name)
    (folder / "c.png").write_bytes(b"broken")
    command = ["mask", folder, "-o", out, "--model", artifact]
    assert u2zoo(*command).returncode == 2
    shutil.copy(CAT, folder / "c.png")
    again = u2zoo(*command, "--resume")
    assert again.returncode == 0, again.stderr
    first, *rest = again.stdout.splitlines()
    assert first == "2 of 3 were finished before"
    assert [line.split()[0] for line in rest] == [str(out / "c.png")]
    assert u2zoo(*command).returncode == 0
    assert not (out / ROOM).exists()


@pytest.mark.parametrize("garbled", [b"\0" * 40 + b"\n", b'{"photo\xff\n', b"[]\n"], ids=["zeros", "no text", "no row"])
def test_a_list_with_a_garbled_line_is_read_up_to_there(garbled, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    job = jobs_of([str(tmp_path / "a.png")], str(tmp_path / "out"), Mask())[0]
    with journal(tmp_path, {}, resume=True):
        pass
    with (tmp_path / ROOM / "finished.jsonl").open("ab") as file:
        file.write(garbled + b'{"photograph": "later"}\n')
    with journal(tmp_path, {}, resume=True) as book:
        assert book.outcome(0, job) is None
    assert (tmp_path / ROOM / "finished.jsonl").read_text() == "{}\n"


def test_what_a_killed_process_left_unfinished_goes_with_the_run(tmp_path):
    with journal(tmp_path, {}, resume=True):
        (tmp_path / ROOM / "1-2.partial").touch()
    assert [path.name for path in (tmp_path / ROOM).iterdir()] == ["finished.jsonl"]


def test_a_background_that_changed_is_not_gone_on_with(artifact, tmp_path):
    shutil.copytree(needs(DATA / "sky" / "masks"), tmp_path / "in")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "back.png")
    command = ["replace", tmp_path / "in", "-o", tmp_path / "out", "--model", artifact, "--resume"]
    command += ["--background", tmp_path / "back.png"]
    assert u2zoo(*command).returncode == 0
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "back.png")
    again = u2zoo(*command)
    assert again.returncode == 2
    assert "the run to resume had background" in again.stderr


def test_ray_says_the_paths_that_were_typed_and_finds_a_background_beside_it(pictures, tmp_path):
    pytest.importorskip("ray.data")
    (tmp_path / "in").mkdir()
    shutil.copy(CAT, tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "back.png")
    said = {}
    for engine in ("local", "ray"):
        command = ["replace", "in", "-o", "out", "--model", pictures, "--background", "back.png", "--json"]
        done = u2zoo(*command, "--engine", engine, "--workers", "1", cwd=tmp_path)
        assert "1 of 2 photographs failed" in done.stderr
        said[engine] = json.loads(done.stdout)
        said[engine]["results"][0].pop("seconds")
    assert said["ray"] == said["local"]
    assert said["ray"]["profile"] == "rembg"  # the one in the graph
    assert said["ray"]["results"][0]["replace"] == "out/a.png"
