"""What macOS leaves beside photographs on other disks, `._x.jpg`, is no photograph."""

import io
import json
import shutil

import pytest
from support.commands import called
from support.data import NANO
from support.photographs import photograph

from converters import sample_images
from u2net_zoo.apps.batch.jobs import jobs_of
from u2net_zoo.apps.mask import Mask
from u2net_zoo.cli.verify import photographs_of
from u2net_zoo.errors import ImageError, InputError
from u2net_zoo.photographs import photographs_in, read_image
from u2net_zoo.train.pairs import find

FORK = (bytes.fromhex("00051607 00020000") + b"Mac OS X        ").ljust(4096, b"\0")


@pytest.fixture
def folder(tmp_path):
    """One photograph, and what macOS knows of it, in a folder and in one inside of it."""
    for place in (tmp_path / "in", tmp_path / "in" / "__MACOSX"):
        place.mkdir()
        (place / "._a.jpg").write_bytes(FORK)
    photograph("coffee.png", 64).save(tmp_path / "in" / "a.jpg")
    return tmp_path / "in"


@pytest.mark.parametrize("source", ["", "*.jpg", "[.a]*.jpg"])
def test_an_application_takes_the_photograph_alone(folder, source):
    jobs = jobs_of([str(folder / source)], str(folder.parent / "out"), Mask(), recursive=True)
    assert [job.photograph for job in jobs] == [str(folder / "a.jpg")]


def test_a_glob_of_nothing_else_names_nothing(folder):
    with pytest.raises(InputError, match="no such file"):
        jobs_of([str(folder / "._*")], str(folder.parent / "out"), Mask())


def test_every_other_list_of_photographs_leaves_them_out(folder):
    right = [folder / "a.jpg"]
    assert photographs_in(folder) == sample_images.listed(folder) == right
    assert list(photographs_of(folder)) == ["a.jpg"]
    masks = shutil.copytree(folder, folder.parent / "masks")
    assert [pair.image for pair in find(folder, masks)] == right


def test_a_photograph_of_such_a_name_is_one(folder):
    photograph("coffee.png", 64).save(folder / "._b.jpg")
    jobs = jobs_of([str(folder)], str(folder.parent / "out"), Mask())
    assert [job.name for job in jobs] == ["._b.jpg", "a.jpg"]


def test_named_alone_it_is_one_line(folder):
    done = called("mask", folder / "._a.jpg", "-o", folder.parent / "out.png", "--model", NANO)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {folder / '._a.jpg'}: macOS's notes on a file (AppleDouble), no photograph; name the file"
    ]
    with pytest.raises(ImageError, match=r"^the photograph: macOS's notes on a file"):
        read_image(io.BytesIO(FORK))


def test_a_folder_is_done_without_a_word_of_them(folder):
    done = called("mask", folder, "-o", folder.parent / "out", "--model", NANO, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == []
