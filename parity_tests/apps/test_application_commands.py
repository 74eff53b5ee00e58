"""The applications as commands: whose profile a file gets, what people are told, and what is gone on with."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import called
from support.data import DATA, NANO, needs
from support.networks import SMALL, hard_checkpoint
from support.photographs import PHOTOGRAPHS, photograph

from converters import Options
from u2net_zoo import Session
from u2net_zoo.apps import APPLICATIONS
from u2net_zoo.apps.batch.jobs import jobs_of
from u2net_zoo.apps.batch.journal import ROOM, journal
from u2net_zoo.apps.composite import Composite
from u2net_zoo.apps.mask import Mask
from u2net_zoo.apps.portrait import Portrait
from u2net_zoo.dilation import BLOCKS, kinds_of
from u2net_zoo.preprocessing import read_image
from u2net_zoo.sources import profile_of

CAT = PHOTOGRAPHS / "chelsea.png"


ASTRONAUT = PHOTOGRAPHS / "astronaut.png"


@pytest.fixture(scope="module")
def artifact(made) -> Path:
    """A converted network that takes tensors of one size."""
    return made.one("onnx", Options(size=(64, 64), outputs="all")).path


@pytest.fixture(scope="module")
def pictures(made) -> Path:
    """A converted network with the profile `rembg` in its graph."""
    return made.one("onnx", Options(size=(64, 64), io="image", profile="rembg")).path


@pytest.fixture(scope="module")
def garments(store) -> Path:
    """Weights that tell four classes apart: all of them are found, in places of their own."""

    def write(folder: Path) -> Path:
        from safetensors.numpy import save_file

        state = dict(hard_checkpoint(replace(SMALL, out_ch=4, final="none")).full_state())
        mixed = np.random.default_rng(5).standard_normal(state["outconv.weight"].shape)  # the hard ones are all alike
        state |= {"outconv.weight": mixed.astype(np.float32), "outconv.bias": np.zeros(4, np.float32)}
        save_file(state, folder / "garments.safetensors", metadata={BLOCKS: kinds_of(SMALL)})
        return folder / "garments.safetensors"

    return store.once("garments.safetensors", write)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# --- profiles


def test_a_file_is_fed_as_the_applications_own_weights(artifact, tmp_path):
    done = called("portrait", "--ready", ASTRONAUT, "-o", tmp_path / "d.png", "--model", artifact, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["profile"] == "portrait"
    expected = Session(artifact, profile="portrait").mask(read_image(ASTRONAUT))
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
        done = called("sky", CAT, "-o", tmp_path / "m.png", "--model", model, "--json", *options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["profile"] == profile


def test_help_says_which_profile_a_file_gets():
    text = " ".join(called("sky", "--help", env={**os.environ, "COLUMNS": "400"}).stdout.split())
    assert "by default the catalog's or the file's own, else sky." in text


def test_the_demo_is_fed_as_in_its_own_lines():
    """The authors' lines: BGR as OpenCV reads it, and each colour's statistics those of its opposite."""
    from u2net_zoo.preprocessing import PROFILES

    face = photograph("astronaut.png")
    bgr = np.asarray(face)[..., ::-1] / np.asarray(face).max()
    planes = [(bgr[..., 2] - 0.406) / 0.225, (bgr[..., 1] - 0.456) / 0.224, (bgr[..., 0] - 0.485) / 0.229]
    found = PROFILES["portrait-demo"].tensor(face, (512, 512))
    np.testing.assert_allclose(found[0], np.stack(planes), atol=1e-6)


# --- commands


@pytest.mark.full
def test_the_sky_is_found_by_a_pair_of_files(tmp_path):
    weights = needs(DATA / "weights" / "skyseg_u2netp_fp16.ncnn.param")
    photograph = needs(DATA / "sky" / "images" / "test_572.jpg")
    done = called("sky", photograph, "-o", tmp_path / "m.png", "--model", weights, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["profile"] == "sky"
    found, known = (np.asarray(p.convert("L")) > 127 for p in (
        Image.open(tmp_path / "m.png"), Image.open(DATA / "sky" / "masks" / "test_572.png"),
    ))  # fmt: skip
    assert (found & known).sum() / (found | known).sum() > 0.9


# As the README has them: options, the photograph, how the bundled weights in a file are fed.
GIVEN = {
    "mask": (["--threshold", "0.6", "--postprocess"], CAT, "paper"),
    "cutout": (["--matting", "guided"], CAT, "paper"),
    "replace": (["--background", "#20c0a0"], CAT, "paper"),
    "boxes": (["--minimum", "0.01"], CAT, "paper"),
    "highlight": (["--dim", "0.3"], CAT, "paper"),
    "crop": (["--margin", "0.1", "--square", "--pad", "white"], CAT, "paper"),
    "human": ([], ASTRONAUT, "paper"),
    "sky": ([], PHOTOGRAPHS / "rocket.jpg", "sky"),
    "portrait": ([], ASTRONAUT, "portrait-demo"),
    "composite": (["--sigma", "4", "--alpha", "0.4"], ASTRONAUT, "portrait"),
}


def typed(options: list[str]) -> dict:
    """The fields that command-line options set."""
    fields: dict = {}
    for text in options:
        if text.startswith("--"):
            fields[name := text.removeprefix("--")] = True
        else:
            fields[name] = float(text) if text[0].isdigit() else text
    return fields


@pytest.mark.parametrize("name", GIVEN)
def test_a_command_gives_what_its_application_makes_of_the_weights_mask(name, tmp_path):
    options, source, profile = GIVEN[name]
    done = called(name, source, "-o", tmp_path / "r.png", "--model", NANO, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    application = APPLICATIONS[name](**typed(options))
    seen = application.before(read_image(source))
    result = application.after(seen, Session(NANO, profile=profile).mask(seen))
    told = json.loads(done.stdout)
    assert told["profile"] == profile
    assert told[application.plural][0].get("facts", {}) == result.facts
    for key, picture in result.pictures.items():
        np.testing.assert_array_equal(read(tmp_path / f"r{key}.png"), picture)
    texts = application.conclude([(source.name, read_image(source).size, result.facts)])
    files = {f"r{key}.png" for key in result.pictures} | set(texts)
    assert {path.name for path in tmp_path.iterdir()} == files
    assert {name: (tmp_path / name).read_text() for name in texts} == texts


def test_clothes_are_told_apart_and_written_beside_their_map(garments, tmp_path):
    done = called("clothes", ASTRONAUT, "-o", tmp_path, "--model", garments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["profile"] == "cloth"
    labels = Session(garments, profile="cloth").mask(read_image(ASTRONAUT))
    counts = dict(zip(("background", "upper body", "lower body", "full body"), labels.histogram(), strict=False))
    assert told["class maps"][0]["facts"]["pixels"] == counts
    assert min(counts.values()) > 0
    assert Image.open(tmp_path / "astronaut.png").mode == "P"
    np.testing.assert_array_equal(read(tmp_path / "astronaut.png"), labels)
    for index, garment in enumerate(("upper_body", "lower_body", "full_body"), 1):
        np.testing.assert_array_equal(read(tmp_path / f"astronaut_{garment}.png") == 255, np.asarray(labels) == index)


def test_every_application_has_a_command_that_is_run_here():
    assert {*GIVEN, "clothes"} == set(APPLICATIONS)


def test_weights_that_tell_no_garments_apart_are_refused_by_the_command(tmp_path):
    done = called("clothes", ASTRONAUT, "-o", tmp_path / "r.png", "--model", NANO)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "u2net_cloth_seg" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_said_for_one_photograph_and_for_many(artifact, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (90, 60), "white").save(folder / name)
    one = called("portrait", folder / "a.png", "-o", tmp_path / "d.png", "--model", artifact)
    assert (one.returncode, one.stderr) == (0, "warning: a.png: no face was found: the whole picture is drawn\n")
    many = called("portrait", folder, "-o", tmp_path / "out", "--model", artifact)
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
    assert called(*command).returncode == 2
    shutil.copy(CAT, folder / "c.png")
    again = called(*command, "--resume")
    assert again.returncode == 0, again.stderr
    first, *rest = again.stdout.splitlines()
    assert first == "2 of 3 were finished before"
    assert [line.split()[0] for line in rest] == [str(out / "c.png")]
    assert called(*command).returncode == 0
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
    (tmp_path / "in").mkdir()
    shutil.copy(CAT, tmp_path / "in")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "back.png")
    command = ["replace", tmp_path / "in", "-o", tmp_path / "out", "--model", artifact, "--resume"]
    command += ["--background", tmp_path / "back.png"]
    assert called(*command).returncode == 0
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "back.png")
    again = called(*command)
    assert again.returncode == 2
    assert "the run to resume had background" in again.stderr
