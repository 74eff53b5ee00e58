"""`--to web`: the model in a real browser, without any server's help, against the Python mask."""

import base64
import functools
import io
import json
import tarfile
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from conftest import SMALL, hard_checkpoint, left, u2zoo
from PIL import Image
from skimage import data

from converters import FORMATS, Options, convert
from converters.conversion import formats_named
from converters.sources import format_of, read_source
from converters.web.runtime import ARCHIVE, MEMBERS, MODULE, _unpack, runtime
from u2net_zoo import Session
from u2net_zoo.catalog import bundled
from u2net_zoo.errors import DownloadError, OptionError
from u2net_zoo.preprocessing import read_image

NEAR, SHARE = 2, 0.99  # grey levels, and the share of pixels; measured: one level, all pixels (2026-11-21)


@pytest.fixture(scope="module")
def npm():
    """onnxruntime-web is in the cache, or can be fetched."""
    try:
        runtime()
    except DownloadError as error:
        pytest.skip(f"needs onnxruntime-web: {error}")


@pytest.fixture(scope="module")
def folder(npm, small, tmp_path_factory) -> Path:
    """A small network."""
    return convert(small, "web", tmp_path_factory.mktemp("web"), options=Options(size=(64, 96)))[0].path


@pytest.fixture(scope="module")
def bundled_folder(npm, tmp_path_factory) -> Path:
    """The bundled network, as people get it."""
    path, web = tmp_path_factory.mktemp("web") / "u2net_nano_web", FORMATS["web"]
    web.write(read_source(bundled("u2net_nano.safetensors")), path, web.settle(Options()))
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> dict[str, Path]:
    place, cat = tmp_path_factory.mktemp("photographs"), Image.fromarray(data.chelsea())
    exif = Image.Exif()
    exif[0x112] = 6
    cat.save(place / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(data.astronaut()).save(place / "astronaut.png")
    Image.fromarray(data.coins()).save(place / "grey.png")
    Image.fromarray(data.camera()).save(place / "grey.jpg")
    alpha = np.tile(np.linspace(0, 255, 512).astype(np.uint8), (512, 1))
    alpha[:, 300:] = 255
    see_through = Image.fromarray(np.dstack([data.astronaut(), alpha]))
    see_through.save(place / "transparent.png")
    see_through.quantize(64).save(place / "transparent palette.png")
    see_through.convert("LA").save(place / "transparent grey.png")
    cat.resize((97, 61)).save(place / "smaller than the network.png")
    cat.resize((1, 1)).save(place / "one pixel.png")
    cat.resize((700, 40)).save(place / "wide.webp", lossless=True)
    return {path.name: path for path in place.iterdir()}


NAMES = ("astronaut.png", "turned.jpg", "grey.png", "grey.jpg", "smaller than the network.png", "one pixel.png",
         "wide.webp", "transparent.png", "transparent palette.png", "transparent grey.png")  # fmt: skip


@pytest.fixture(scope="module")
def address(folder):
    """A plain web server for files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    opened.open(address)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def session(small) -> Session:
    """In Torch; it is fed at the size that the folder's model takes."""
    found = Session(small)
    found.preparation = replace(found.preparation, size=(64, 96))
    return found


def levels(browser, photograph: Path) -> np.ndarray:
    """The mask that the page has of it, flat."""
    browser.evaluate("document.getElementById('facts').replaceChildren()")
    browser.choose("#file", photograph)
    error = "document.getElementById('error')"
    browser.wait_for(f"document.getElementById('facts').childNodes.length || !{error}.hidden", 60)
    assert browser.evaluate(f"{error}.textContent") == ""
    return np.array(browser.evaluate("Array.from(u2zoo.mask())"), np.int16)


def close(found: np.ndarray, session: Session, photograph: Path) -> bool:
    wanted = np.asarray(session.mask(read_image(photograph)), np.int16)
    return bool((np.abs(found.reshape(wanted.shape) - wanted) <= NEAR).mean() >= SHARE)


@pytest.mark.parametrize("name", NAMES)
def test_the_browsers_mask_is_the_python_mask(browser, session, photographs, name):
    assert close(levels(browser, photographs[name]), session, photographs[name])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_that_transparency_hides_are_read_upright(browser, address, tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    pixels[:2, :, 3] = 0
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    content = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    found = browser.evaluate(f"""fetch("data:image/png;base64,{content}")
        .then((answer) => answer.blob())
        .then(async (file) => Array.from(await coloursOf(file, await createImageBitmap(file))))""")
    wanted = np.asarray(read_image(tmp_path / "a.png"))
    assert np.array_equal(np.array(found, np.uint8).reshape(wanted.shape), wanted)


def test_the_bundled_network_runs_from_a_double_click(bundled_folder, photographs, tmp_path):
    opened, session = Browser(tmp_path), Session("u2net_nano")
    try:
        opened.open(bundled_folder / "index.html")
        for name in ("astronaut.png", "turned.jpg"):
            assert close(levels(opened, photographs[name]), session, photographs[name])
        assert all(url.startswith(("file:", "blob:")) for url in opened.requested())
        assert opened.complaints() == []
    finally:
        opened.close()


def test_the_browser_asked_for_files_of_the_folder_and_nothing_else(browser, address, folder, photographs):
    levels(browser, photographs["one pixel.png"])
    asked = {url.removeprefix(address) for url in browser.requested() if not url.startswith("blob:")}
    assert all((folder / (name or "index.html")).is_file() for name in asked), asked
    assert browser.complaints() == []


def test_the_folder_holds_its_licences_and_no_foreign_address(folder):
    assert "MIT License" in (folder / "runtime" / "LICENSE").read_text()
    assert (folder / "runtime" / "ThirdPartyNotices.txt").stat().st_size > 100_000
    for path in (folder / "index.html", *(folder / "page").glob("*.js"), folder / "page" / "style.css"):
        assert "https://" not in path.read_text(), path


def test_it_is_read_and_run_as_its_onnx_file(folder, small, session):
    assert format_of(folder).name == "web"
    found, wanted = read_source(folder).fold().state, small.fold().state
    fused = [key for key in found if not key.startswith("side")]  # a file that answers the mask alone has no more
    assert all(np.array_equal(found[key], wanted[key]) for key in fused)
    photograph = Image.fromarray(data.astronaut())
    a, b = (np.asarray(s.mask(photograph), np.int16) for s in (Session(folder), session))
    assert np.abs(a - b).max() <= 1


def test_the_page_is_told_the_weights_own_profile(npm, small, tmp_path):
    options = Options(size=(32, 32), profile="portrait")
    FORMATS["web"].write(small, tmp_path / "web", FORMATS["web"].settle(options))
    about = json.loads((tmp_path / "web" / "model.json").read_text())
    assert (about["profile"], about["invert"], about["width"]) == ("portrait", True, 32)


def test_all_stands_for_the_formats_that_need_no_network(tmp_path):
    assert "web" not in [fmt.name for fmt in formats_named("all")]
    assert [fmt.name for fmt in formats_named("all,web")][-1] == "web"
    assert len(formats_named("all")) == len(FORMATS) - 1


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
    done = u2zoo("convert", "u2net_nano", "--to", "web", "-o", tmp_path / "out")
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


def test_a_damaged_cache_counts_as_missing(npm, home, monkeypatch):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    place = home / ARCHIVE.file.removesuffix(".tgz")
    place.mkdir(parents=True)
    for name, (size, _) in MEMBERS.items():
        (place / name).write_bytes(bytes(size))
    with pytest.raises(DownloadError, match="not in the cache"):
        runtime()
