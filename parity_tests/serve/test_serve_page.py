"""The page of `u2zoo serve`, in a real browser."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data
from support.browser import Browser, luminance
from support.serving import served, shared_model

SHOWN = "!document.getElementById('result').hidden && !document.querySelector('.busy')"
SPLIT = "parseFloat(getComputedStyle(document.getElementById('compare')).getPropertyValue('--at'))"
COMPLAINT = "document.getElementById('error').textContent"


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs") / "cat.jpg"
    exif = Image.Exif()
    exif[0x112] = 6  # it lies on its side
    Image.fromarray(data.chelsea()).save(path, exif=exif)
    return path


@pytest.fixture(scope="module")
def server(small, store):
    with served(shared_model(small, store)) as running:
        yield running


@pytest.fixture(scope="module")
def browser(server, tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    opened.screen(1280, 900)
    yield opened
    opened.close()


@pytest.fixture
def page(browser, server):
    browser.open(server.base + "/")
    return browser


@pytest.fixture
def shown(page, cat):
    page.choose("#file", cat)
    page.wait_for(SHOWN)
    return page


def pixel(page, x: int, y: int) -> list[int]:
    """RGBA of the result."""
    context = "document.getElementById('after').getContext('2d')"
    return page.evaluate(f"Array.from({context}.getImageData({x}, {y}, 1, 1).data)")


def show(page, what: str) -> None:
    page.evaluate(f"document.querySelector('input[value={what}]').click()")


def test_the_page_has_the_servers_mask(shown, server, cat):
    answer = Image.open(io.BytesIO(server.post(cat.read_bytes()).content))
    levels = np.array(shown.evaluate("Array.from(u2zoo.mask())"), np.uint8)
    assert np.array_equal(levels.reshape(answer.height, answer.width), np.asarray(answer))
    assert answer.size == (300, 451)  # upright, in the browser as on the server


def test_it_says_what_computed_and_how_long_it_took(shown):
    facts = shown.evaluate("Array.from(document.querySelectorAll('#facts dt'), (term) => term.textContent)")
    assert facts == ["size", "engine", "time"]
    assert shown.evaluate("crossOriginIsolated")


def test_a_cut_out_is_the_photograph_with_the_mask_as_alpha(shown):
    show(shown, "cutout")
    place = shown.evaluate("u2zoo.mask().findIndex(level => level > 50 && level < 200)")
    alpha = shown.evaluate(f"u2zoo.mask()[{place}]")
    assert abs(pixel(shown, place % 300, place // 300)[3] - alpha) <= 1


def test_a_colour_goes_behind_it(shown):
    show(shown, "colour")
    shown.evaluate("document.querySelector('#swatches button').click()")  # white
    darkest = shown.evaluate("u2zoo.mask().indexOf(0)")
    assert pixel(shown, darkest % 300, darkest // 300) == [255, 255, 255, 255]


def test_a_picture_goes_behind_it(shown, tmp_path):
    Image.new("RGB", (40, 30), (0, 200, 0)).save(tmp_path / "green.png")
    show(shown, "picture")
    shown.choose("#background", tmp_path / "green.png")
    darkest = shown.evaluate("u2zoo.mask().indexOf(0)")
    context = "document.getElementById('after').getContext('2d')"
    shown.wait_for(f"{context}.getImageData({darkest % 300}, {darkest // 300}, 1, 1).data[1] === 200")


def test_a_dialog_that_is_left_without_a_choice_is_no_error(shown):
    show(shown, "picture")
    shown.evaluate("document.getElementById('background').dispatchEvent(new Event('change'))")
    shown.evaluate("new Promise(done => setTimeout(done, 200))")
    assert not shown.evaluate(COMPLAINT)


def test_a_blurred_background_is_opaque_to_its_borders(shown):
    show(shown, "blur")
    corners = [pixel(shown, x, y)[3] for x, y in ((0, 0), (299, 0), (0, 450), (299, 450))]
    assert corners == [255] * 4


def test_where_a_canvas_cannot_blur_no_blur_is_offered(browser, server, cat):
    source = "delete CanvasRenderingContext2D.prototype.filter"
    script = browser.send("Page.addScriptToEvaluateOnNewDocument", source=source)["identifier"]
    try:
        browser.open(server.base + "/")
        values = "Array.from(document.querySelectorAll('input[name=show]'), input => input.value)"
        assert browser.evaluate(values) == ["cutout", "mask", "colour", "picture"]
        browser.choose("#file", cat)
        browser.wait_for(SHOWN)
    finally:
        browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_the_download_is_a_png_of_the_photographs_size(shown):
    show(shown, "cutout")
    shown.evaluate("""(() => {
        window.saved = null;
        HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href]; };
        document.getElementById('download').click();
    })()""")
    name, address = shown.wait_for("window.saved")
    assert name == "cat-cutout.png"
    shown.evaluate(f"window.loaded = Object.assign(new Image(), {{src: '{address}'}})")
    shown.wait_for("loaded.complete")
    assert shown.evaluate("[loaded.naturalWidth, loaded.naturalHeight]") == [300, 451]


DROPPED = """fetch('page/icon.svg').then(() => {
    const bytes = Uint8Array.from(atob('%s'), c => c.charCodeAt(0));
    const moved = new DataTransfer();
    moved.items.add(new File([bytes], 'cat.jpg', {type: 'image/jpeg'}));
    const event = new %s('%s', {bubbles: true, cancelable: true, %s: moved});
    document.body.dispatchEvent(event);
})"""


@pytest.mark.parametrize("way", [("DragEvent", "drop", "dataTransfer"), ("ClipboardEvent", "paste", "clipboardData")])
def test_a_photograph_can_be_dropped_and_pasted(page, cat, way):
    import base64

    page.evaluate(DROPPED % (base64.b64encode(cat.read_bytes()).decode(), *way))
    page.wait_for(SHOWN)


def test_the_keyboard_alone_does(shown):
    assert shown.evaluate("document.activeElement.id") == "split"
    before = shown.evaluate(SPLIT)
    for _ in range(5):
        shown.key("ArrowLeft", 37)
    assert shown.evaluate(SPLIT) == before - 5
    shown.evaluate("document.getElementById('again').click()")
    assert shown.evaluate("document.activeElement.id") == "file"


def test_what_is_no_photograph_is_said(page, tmp_path):
    (tmp_path / "notes.txt").write_text("no photograph")
    page.choose("#file", tmp_path / "notes.txt")
    assert "This browser cannot read notes.txt" in page.wait_for(COMPLAINT)


def test_a_photograph_that_the_browser_leaves_lying_is_said(page, tmp_path):
    """Chromium passes over the orientation of WebP files."""
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.webp", exif=exif)
    page.choose("#file", tmp_path / "cat.webp")
    assert "ignores how the photograph is turned" in page.wait_for(COMPLAINT)


def test_what_the_server_refuses_is_said_in_its_words(page, tmp_path):
    Image.new("1", (5100, 5000)).save(tmp_path / "large.png")
    page.choose("#file", tmp_path / "large.png")
    assert "24000000 are allowed" in page.wait_for(COMPLAINT)


def test_an_error_goes_away_with_the_next_photograph(page, cat, tmp_path):
    (tmp_path / "notes.txt").write_text("no photograph")
    page.choose("#file", tmp_path / "notes.txt")
    page.wait_for(COMPLAINT)
    page.choose("#file", cat)
    page.wait_for(SHOWN)
    assert not page.evaluate(COMPLAINT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(page, scheme):
    page.scheme(scheme)
    style = "getComputedStyle(document.querySelector('.drop'))"
    ink, ground = (page.evaluate(f"{style}.{key}.match(/[0-9]+/g).map(Number)") for key in ("color", "backgroundColor"))
    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 7  # WCAG's AAA
    assert (luminance(ground) > luminance(ink)) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_sideways(shown, width):
    show(shown, "colour")
    shown.screen(width, 800, mobile=width < 500)
    try:
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        shown.screen(1280, 900)


def test_nothing_foreign_is_asked_for_and_nothing_complains(shown, server):
    """The browser reports what a policy blocks; and the refusal above, and that these tests read pixels often."""
    foreign = [url for url in shown.requested() if not url.startswith((server.base, "blob:" + server.base))]
    assert foreign == []
    assert [text for text in shown.complaints() if "413" not in text and "Canvas2D" not in text] == []
