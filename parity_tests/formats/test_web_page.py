"""`--to web` in a real browser, without any server's help, against the Python mask; its files: test_web_folder.py."""

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from support.browser import Browser
from support.web import SIZE, close, folder_of, session_of, unadorned

from converters.loading import read_source
from u2net_zoo import Session
from u2net_zoo.catalog import bundled
from u2net_zoo.preprocessing import read_image


@pytest.fixture(scope="module")
def folder(small, store) -> Path:
    return folder_of(small, SIZE, store)


@pytest.fixture(scope="module")
def bundled_folder(store) -> Path:
    """The bundled network, as people get it."""
    return folder_of(read_source(bundled("u2net_nano.safetensors")), (320, 320), store)


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


NO_CARD = "No available adapters"  # the browser's own words where there is no WebGPU
NAMES = ("astronaut.png", "turned.jpg", "grey.png", "grey.jpg", "smaller than the network.png", "one pixel.png",
         "wide.webp", "transparent.png", "transparent palette.png", "transparent grey.png")  # fmt: skip


@pytest.fixture(scope="module")
def address(folder):
    """A plain web server for files."""
    with unadorned(folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    opened.open(address)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def session(small) -> Session:
    return session_of(small, SIZE)


def levels(browser, photograph: Path) -> np.ndarray:
    """The mask that the page has of it, flat."""
    browser.evaluate("document.getElementById('facts').replaceChildren()")
    browser.choose("#file", photograph)
    error = "document.getElementById('error')"
    browser.wait_for(f"document.getElementById('facts').childNodes.length || {error}.textContent", 60)
    assert browser.evaluate(f"{error}.textContent") == ""
    return np.array(browser.evaluate("Array.from(u2zoo.mask())"), np.int16)


@pytest.mark.parametrize("name", NAMES)
def test_the_browsers_mask_is_the_python_mask(browser, session, photographs, name):
    assert close(levels(browser, photographs[name]), session, read_image(photographs[name]))


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
            assert close(levels(opened, photographs[name]), session, read_image(photographs[name]))
        assert all(url.startswith(("file:", "blob:")) for url in opened.requested())
        assert [text for text in opened.complaints() if NO_CARD not in text] == []
    finally:
        opened.close()


def test_the_browser_asked_for_files_of_the_folder_and_nothing_else(browser, address, folder, photographs):
    levels(browser, photographs["one pixel.png"])
    asked = {url.removeprefix(address) for url in browser.requested() if not url.startswith("blob:")}
    assert all((folder / (name or "index.html")).is_file() for name in asked), asked
    assert [text for text in browser.complaints() if NO_CARD not in text] == []
