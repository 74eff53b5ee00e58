"""Wherever a file comes in that normalises pixels itself, it answers what the network answers as an ordinary file."""

import io
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.artifacts import nano
from support.commands import called
from support.photographs import photograph
from support.self_normalising import onnx_of_pixels
from support.serving import Served

from converters import FORMATS, Options
from u2net_zoo.apps.registry import APPLICATIONS

SIZE = (128, 128)
# Of the applications that take one mask; `clothes` takes four classes.
ONE_MASK = [name for name in APPLICATIONS if name != "clothes"]
MORE = {"replace": ("--background", "white")}


@pytest.fixture(scope="module", autouse=True)
def _own_records(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("U2ZOO_HOME", str(tmp_path_factory.mktemp("records")))
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """The bundled network as a file of pixels and as one of the normalised tensor."""
    folder = tmp_path_factory.mktemp("files")
    onnx = FORMATS["onnx"]
    onnx.write(nano(), folder / "plain.onnx", onnx.settle(Options(size=SIZE)))
    return onnx_of_pixels(nano(), folder, SIZE), folder / "plain.onnx"


def with_white(name: str, folder: Path) -> Path:
    """It keeps full white when it is resized, so that dividing by 255 and by the maximum are the same."""
    image = photograph(name).resize((192, 160))
    image.paste((255, 255, 255), (0, 0, 24, 24))
    image.save(folder / "photo.png")
    return folder / "photo.png"


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    return with_white("coffee.png", tmp_path_factory.mktemp("photo"))


def same(a: Image.Image, b: Image.Image) -> None:
    assert (a.size, a.mode) == (b.size, b.mode)
    apart = np.abs(np.asarray(a.convert("RGBA"), np.int16) - np.asarray(b.convert("RGBA"), np.int16))
    assert apart.mean() <= 0.5  # of 255; fed the wrong numbers masks differ by 60 and more
    assert np.percentile(apart, 99) <= 2


@pytest.mark.parametrize("name", ONE_MASK)
def test_every_application(name, files, photo, tmp_path):
    made = []
    for number, model in enumerate(files):
        out = tmp_path / str(number)
        done = called(name, photo, "-o", out / "o.png", "--model", model, "--profile", "paper", *MORE.get(name, ()))
        assert done.returncode == 0, done.stderr
        made.append(sorted(out.glob("*.png")))
    assert [path.name for path in made[0]] == [path.name for path in made[1]]
    for a, b in zip(*made, strict=True):
        same(Image.open(a), Image.open(b))


def test_video(files, tmp_path):
    av = pytest.importorskip("av", reason="needs the extra video")
    from support.videos import film

    film(tmp_path / "in.mp4", range(0, 240, 40), sound=None)
    frames = []
    for number, model in enumerate(files):
        target = tmp_path / f"{number}.mp4"
        done = called("video", tmp_path / "in.mp4", "-o", target, "--show", "mask", "--model", model)
        assert done.returncode == 0, done.stderr
        with av.open(str(target)) as film_made:
            frames.append([frame.to_ndarray(format="gray") for frame in film_made.decode(video=0)])
    assert len(frames[0]) == len(frames[1]) == 6
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(*frames, strict=True)) <= 3  # of 255, encoded anew


def test_serve(files, photo):
    masks = []
    for model in files:
        served = Served(model)
        answer = served.post(photo.read_bytes())
        assert served.stop(signal.SIGINT) == 0
        assert answer.status_code == 200
        masks.append(Image.open(io.BytesIO(answer.content)))
    same(*masks)


def test_verify(files, tmp_path):
    """It differs in what it says of itself alone: photographs that are not white anywhere are divided by less.

    At this size the network is sure of the retina; of the cup's rim it is not, and 8 bits move it (IoU 0.9989).
    """
    photo, found = with_white("retina.jpg", tmp_path), []
    for model in files:
        done = called("verify", model, "--against", "u2net_nano", "--images", photo.parent, "--json")
        found.append(json.loads(done.stdout)["artifacts"][0])
    pixels, plain = found
    assert (plain["ok"], plain["takes"]) == (True, "normalised tensor")
    assert (pixels["ok"], pixels["takes"]) == (False, "pixels 0..255")
    assert pixels["diagnosis"]["explanation"]["name"] == "divided by 255 instead of by the maximum"
    assert pixels["pictures"][0]["iou"] >= 0.999


@pytest.mark.parametrize("target", ["safetensors", "onnx"])
def test_convert(files, target, tmp_path):
    done = called("convert", files[0], "--to", target, "--size", "64", "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifacts"][0]["source"]["convention"] == "pixels 0..255"
