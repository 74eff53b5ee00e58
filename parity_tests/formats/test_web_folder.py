"""The folder of `--to web`: its files, its runtime, and what is refused. In a browser: test_web_page.py."""

import base64
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.commands import called, left
from support.networks import SMALL, hard_checkpoint
from support.npm import CONTENTS, small_registry
from support.photographs import photograph

from converters import FORMATS, Options, convert
from converters.formats.web.onnxruntime_web import ARCHIVE, ENGINES, MEMBERS, _unpack, runtime
from converters.formats.web.probe import BOUND, picture
from converters.loading import format_of, read_source
from converters.planning.targets import formats_named
from u2net_zoo import Session
from u2net_zoo.errors import DownloadError, OptionError

SIZE = (64, 96)
MODULE = ENGINES["webgpu"][0]  # the first member of the archive that is looked at
FILES = {"_headers", "index.html", "model.json", "model.onnx", "offline.js", "offline-webgpu.js", "serve.py",
         "page/app.js", "page/camera.js", "page/compose.js", "page/engine.js", "page/icon.svg", "page/style.css",
         "page/worker.js", "runtime/LICENSE", "runtime/ThirdPartyNotices.txt",
         *(f"runtime/{name}" for name in CONTENTS)}  # fmt: skip


@pytest.fixture
def registry(tmp_path) -> Iterator:
    with small_registry(tmp_path / "registry") as server:
        yield server


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory) -> Path:
    """A small network, as it is converted; the runtime in it is a few bytes."""
    place = tmp_path_factory.mktemp("web")
    with small_registry(place / "registry"):
        return convert(small, "web", place, name="street", options=Options(size=SIZE))[0].path


def test_the_runtime_is_fetched_once_and_then_needs_no_network(registry, monkeypatch):
    assert runtime() == CONTENTS
    assert len(registry.requests) == 1
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    assert runtime() == CONTENTS
    assert len(registry.requests) == 1


def test_the_folder_holds_the_page_the_model_and_the_runtime(folder):
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == FILES
    assert {name: (folder / "runtime" / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert folder.name == "street_web"
    assert json.loads((folder / "model.json").read_text("utf-8"))["name"] == "street"


def test_the_page_asks_for_nothing_that_the_folder_lacks(folder):
    text = (folder / "index.html").read_text()
    asked = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert "page/app.js" in asked
    assert all((folder / name).is_file() for name in asked if not name.startswith("data:")), asked


def test_a_double_clicked_page_has_every_file_as_text(folder):
    texts = [(folder / name).read_text() for name in ("offline.js", "offline-webgpu.js")]
    first, second = (dict(re.findall(r'^window.offline\["(.+?)"\] = "(.+)";$', text, re.MULTILINE)) for text in texts)
    wasm, webgpu = ({f"runtime/{name}" for name in ENGINES[engine]} for engine in ("wasm", "webgpu"))
    assert set(first) == {"model.json", "model.onnx", "page/worker.js", *wasm}
    assert set(second) == webgpu
    assert all(base64.b64decode(text) == (folder / name).read_bytes() for name, text in (first | second).items())


def test_the_page_is_told_the_mask_of_a_picture_that_it_can_draw(folder, small):
    """A browser whose graphics card answers something else does not use it."""
    known = json.loads((folder / "model.json").read_text())["probe"]
    mask = np.asarray(Session(small).answer(picture(*SIZE)), np.float64).reshape(SIZE)
    blocks = mask.reshape(4, 16, 6, 16).mean(axis=(1, 3)).ravel()
    furthest = np.abs(np.array(known["means"]) - blocks).max()
    assert furthest <= 2e-6  # measured: 4.7e-7, which is the rounding (2026-11-26)
    assert blocks.max() - blocks.min() > 0.1  # there is something to tell apart
    assert (known["block"], known["bound"]) == (16, BOUND)


def test_the_page_is_told_how_photographs_are_prepared(folder):
    about = json.loads((folder / "model.json").read_text())
    assert (about["width"], about["height"], about["profile"]) == (96, 64, "paper")
    assert about["mean"] == [0.485, 0.456, 0.406]
    assert about["std"] == [0.229, 0.224, 0.225]
    assert (about["by_maximum"], about["grey_as_first"], about["stretch"], about["invert"]) == (True, True, True, False)


def test_the_folder_holds_its_licences_and_no_foreign_address(folder):
    assert "MIT License" in (folder / "runtime" / "LICENSE").read_text()
    assert (folder / "runtime" / "ThirdPartyNotices.txt").stat().st_size > 100_000
    for path in (folder / "index.html", *(folder / "page").glob("*.js"), folder / "page" / "style.css"):
        assert "https://" not in path.read_text(), path


def test_it_is_read_and_run_as_its_onnx_file(folder, small):
    assert format_of(folder).name == "web"
    found, wanted = read_source(folder).fold().state, small.fold().state
    fused = [key for key in found if not key.startswith("side")]  # a file that answers the mask alone has no more
    assert all(np.array_equal(found[key], wanted[key]) for key in fused)
    torch = Session(small)
    torch.preparation = replace(torch.preparation, size=SIZE)
    a, b = (np.asarray(s.mask(photograph("astronaut.png")), np.int16) for s in (Session(folder), torch))
    assert np.abs(a - b).max() <= 1


def test_the_page_is_told_the_weights_own_profile(registry, small, tmp_path):
    options = Options(size=(32, 32), profile="portrait")
    FORMATS["web"].write(small, tmp_path / "web", FORMATS["web"].settle(options))
    about = json.loads((tmp_path / "web" / "model.json").read_text())
    assert (about["profile"], about["invert"], about["width"]) == ("portrait", True, 32)


def test_all_stands_for_the_formats_that_need_no_network(tmp_path):
    assert "web" not in [fmt.name for fmt in formats_named("all")]
    assert [fmt.name for fmt in formats_named("all,web")][-1] == "web"
    assert {fmt.name for fmt in FORMATS.values() if fmt.downloads} == set(FORMATS) - {
        fmt.name for fmt in formats_named("all")
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(profile="rembg"), "its page has: paper, portrait"),
        (Options(io="image"), "cannot honour --io image"),
        (Options(precision="fp16"), "cannot honour --precision fp16"),
        (Options(outputs="all"), "cannot honour --outputs all"),
    ],
)
def test_what_the_page_cannot_do_is_refused(small, tmp_path, options, words):
    with pytest.raises(OptionError, match=words):
        convert(small, "web", tmp_path, options=options)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_makes_no_mask_of_a_picture_is_refused(tmp_path):
    with pytest.raises(OptionError, match="one mask of an RGB picture; u2net-custom has 3 channels in, 4 out"):
        convert(hard_checkpoint(replace(SMALL, out_ch=4, final="none")), "web", tmp_path)


def test_without_a_network_it_is_one_line_before_any_work(home, monkeypatch, tmp_path):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    done = called("convert", "u2net_nano", "--to", "web", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "onnxruntime-web: not in the cache" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("variable", ["U2ZOO_NPM", "npm_config_registry"])
def test_a_mirror_that_sends_another_file_is_not_believed(home, server, monkeypatch, tmp_path, variable):
    """The server's own file is smaller than the archive that is pinned."""
    place = tmp_path / "www" / "onnxruntime-web" / "-"
    place.mkdir(parents=True)
    (place / ARCHIVE.file).write_bytes(b"another file")
    monkeypatch.setenv(variable, f"{server.base}/ok/")
    with pytest.raises(DownloadError, match=f"not fetched: 127.0.0.1 .{ARCHIVE.file}.: expected {ARCHIVE.bytes} bytes"):
        runtime()
    assert server.requests == [f"/ok/onnxruntime-web/-/{ARCHIVE.file}"]
    assert left(home) == []


@pytest.mark.parametrize("kind", ["link", "other", "missing"])
def test_an_archive_with_other_members_is_not_unpacked(tmp_path, kind):
    archive = tmp_path / "a.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, (size, _) in MEMBERS.items():
            info = tarfile.TarInfo(f"package/dist/{name}")
            if kind == "link" and name == MODULE:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
            elif kind == "other":
                info.size = size
                tar.addfile(info, io.BytesIO(bytes(size)))
    (tmp_path / "cache").mkdir()
    with pytest.raises(DownloadError, match=MODULE):
        _unpack(archive, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_cache_counts_as_missing(home, monkeypatch):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    place = home / ARCHIVE.file.removesuffix(".tgz")
    place.mkdir(parents=True)
    for name, (size, _) in MEMBERS.items():
        (place / name).write_bytes(bytes(size))
    with pytest.raises(DownloadError, match="not in the cache"):
        runtime()
