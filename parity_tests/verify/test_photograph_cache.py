"""Photographs that artifacts are compared on: opened once, never all at once."""

import base64
import gc
import io
import weakref

import numpy as np
import pytest
from PIL import Image
from support.commands import called
from support.opening import Here

from converters import Options
from converters.torch_predictor import RememberingPredictor, TorchPredictor
from converters.verify import Verifier
from converters.verify.photograph_cache import LazyPhotographs, PhotographCache
from converters.verify.report.gallery import FEWEST, LIMIT, Gallery
from u2net_zoo.errors import OutputError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.session import MaskSession

COUNT = 5
SIZE = (64, 64)
WHOLE = Options(size=SIZE, outputs="all")


def photograph(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 50 + number, 3), np.uint8))


class Opened:
    """Openers that count how often each photograph was opened and how many of them were alive at once, at most."""

    def __init__(self):
        self.times = [0] * COUNT
        self.pictures: list[weakref.ref] = []
        self.most = 0

    def opener(self, number: int):
        def opened() -> Image.Image:
            self.times[number] += 1
            picture = photograph(number)
            self.pictures.append(weakref.ref(picture))
            gc.collect()
            self.most = max(self.most, sum(each() is not None for each in self.pictures))
            return picture

        return opened

    def photographs(self, seen=None) -> LazyPhotographs:
        return LazyPhotographs({str(n): self.opener(n) for n in range(COUNT)}, seen)


def test_photographs_are_opened_once_for_all_artifacts_and_one_at_a_time(small, made):
    artifacts = [made.one(name, WHOLE) for name in ("onnx", "torchscript")]
    opened, numbers = Opened(), []
    verifier = Verifier(small, PROFILES["paper"], opened.photographs(lambda n, _: numbers.append(n)), opened=Here)
    verdicts = [verifier.verify(artifact.path) for artifact in artifacts]
    assert [len(verdict.pictures) for verdict in verdicts] == [COUNT, COUNT]
    assert opened.times == [1] * COUNT
    assert opened.most == 1
    assert numbers == list(range(COUNT))


def test_masks_out_of_an_album_are_those_of_a_session(small):
    pictures = {str(n): photograph(n) for n in range(2)}
    album, session = PhotographCache(pictures), MaskSession(TorchPredictor(small), PROFILES["paper"], size=SIZE)
    for _ in range(2):  # made, and then out of the folder
        for name, picture in pictures.items():
            wanted = np.asarray(session.mask(picture))
            assert np.array_equal(album.mask(name, session), wanted)
            assert np.array_equal(album.expected(name, session), wanted)


def test_profiles_and_sizes_are_kept_apart(small):
    album = PhotographCache({"0": photograph(0)})
    model = RememberingPredictor(small)
    sessions = [
        MaskSession(model, PROFILES[name], size=size) for name in ("paper", "rembg") for size in (SIZE, (96, 64))
    ]
    for session in (*sessions, *sessions):
        assert np.array_equal(album.expected("0", session), session.mask(photograph(0)))


def test_a_full_disk_is_one_line_that_says_what_to_do(small, monkeypatch):
    album, session = (
        PhotographCache({"0": photograph(0)}),
        MaskSession(RememberingPredictor(small), PROFILES["paper"], size=SIZE),
    )

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match="No space left on device; name a folder with more room in TMPDIR"):
        album.mask("0", session)


@pytest.mark.parametrize(("artifacts", "shown"), [(1, LIMIT), (13, 20), (100, FEWEST)])
def test_a_page_of_many_photographs_shows_some_of_all_parts(artifacts, shown):
    gallery = Gallery(10 * shown, artifacts)
    for number in range(gallery.total):
        gallery.add_photograph(number, Image.new("RGB", (2, 2)))
    assert list(gallery.photographs) == list(range(0, 10 * shown, 10))


def test_sixteen_bits_are_no_white_picture_on_a_page():
    gallery = Gallery(1, 1)
    gallery.add_photograph(0, Image.fromarray(np.full((20, 20), 1 << 15, np.uint16)))
    shown = Image.open(io.BytesIO(base64.b64decode(gallery.photographs[0].partition(",")[2])))
    assert abs(np.asarray(shown).mean() - 128) < 3


def test_a_broken_photograph_is_one_line_and_leaves_no_page(made, small_file, tmp_path):
    path = made.one("onnx", WHOLE).path
    (tmp_path / "photos").mkdir()
    photograph(0).save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_bytes((tmp_path / "photos" / "a.png").read_bytes()[:900])
    page = tmp_path / "page" / "report.html"
    done = called("verify", path, "--against", small_file, "--images", tmp_path / "photos", "--report", page)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "b.png: the photograph cannot be decoded" in done.stderr
    assert not page.exists()
