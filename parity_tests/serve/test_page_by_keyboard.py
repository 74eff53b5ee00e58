"""The server's page and the web folder's without a mouse: real key events, from the first Tab to the download."""

import base64

import pytest
from PIL import Image
from skimage import data
from support.browser import Browser
from support.cameras import COMPLAINT, OFF, ON, STATUS, filmed, seeing
from support.serving import served, shared_model
from support.web import SIZE, folder_of, isolated

READY = f"!document.getElementById('result').hidden && {STATUS} === 'The result is ready.'"
AT = "parseFloat(getComputedStyle(document.getElementById('compare')).getPropertyValue('--at'))"
MOST = 30  # presses of Tab: more than either page has places
# What has the focus: its id, a choice's or a colour's value, or a link's words.
FOCUS = """((e) => e === document.body ? '' : e.id || (e.type === 'radio' ? 'show=' : '') + (e.value || e.textContent))(
    document.activeElement)"""
# Whether it is seen that it has: the element has an outline, or what stands for it where it is invisible itself.
OUTLINED = """((e) => {
    const styles = [e, e.nextElementSibling, e.parentElement].filter(Boolean).map((one) => getComputedStyle(one));
    return styles.some((s) => s.opacity > 0 && s.outlineStyle === 'solid' && parseFloat(s.outlineWidth) >= 2);
})(document.activeElement)"""


@pytest.fixture(scope="module", params=["server", "web"])
def address(request, small, store):
    """Of each page, served as people are told to serve it."""
    if request.param == "server":
        with served(shared_model(small, store)) as running:
            yield running.base + "/"
    else:
        with isolated(folder_of(small, SIZE, store)) as web:
            yield web


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs") / "cat.jpg"
    Image.fromarray(data.chelsea()).save(path)
    return path


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    film = filmed(Image.fromarray(data.astronaut()).resize((320, 240)), tmp_path_factory.mktemp("film") / "a.y4m")
    opened = Browser(tmp_path_factory.mktemp("profile"), *seeing(film))
    opened.screen(1280, 900)
    yield opened
    opened.close()


@pytest.fixture
def page(browser, address):
    browser.open(address)
    return browser


@pytest.fixture
def shown(page, cat):
    reach(page, "file")
    page.choose_in_dialog(cat, lambda: page.key("Enter"))
    page.wait_for(READY)
    return page


def reach(page: Browser, name: str, back: bool = False) -> None:
    """Tab, or Shift and Tab, until the element has the focus; every place on the way shows that it has it."""
    for _ in range(MOST):
        if page.evaluate(FOCUS) == name:
            return
        page.key("Tab", shift=back)
        assert not page.evaluate(FOCUS) or page.evaluate(OUTLINED), f"no focus is seen on {page.evaluate(FOCUS)}"
    raise AssertionError(f"no Tab leads to {name}")


def show(page: Browser, what: str, back: bool = False) -> None:
    """By the arrows, from the choice that was made before."""
    reach(page, "show=" + page.evaluate("chosen()"), back)
    for _ in range(5):
        if page.evaluate("chosen()") == what:
            return
        page.key("ArrowRight")
    raise AssertionError(f"no arrow leads to {what}")


def corner(page: Browser) -> list[int]:
    return page.evaluate("Array.from(document.getElementById('after').getContext('2d').getImageData(0, 0, 1, 1).data)")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_photograph_is_chosen(page, cat, key):
    reach(page, "file")
    page.choose_in_dialog(cat, lambda: page.key(key))
    page.wait_for(READY)


def test_what_is_no_photograph_is_said_and_the_same_file_can_be_tried_again(page, cat, tmp_path):
    file = tmp_path / "a.jpg"
    file.write_text("no photograph")
    reach(page, "file")
    page.choose_in_dialog(file, lambda: page.key("Enter"))
    page.wait_for(COMPLAINT)
    assert page.evaluate(FOCUS) == "file"
    file.write_bytes(cat.read_bytes())
    page.choose_in_dialog(file, lambda: page.key("Enter"))
    page.wait_for(READY)


def test_the_divider_moves_and_says_where_it_is(shown):
    assert shown.evaluate(FOCUS) == "split"
    assert shown.evaluate(OUTLINED)
    for _ in range(3):
        shown.key("ArrowLeft")
    assert shown.evaluate(AT) == 47
    assert shown.evaluate("document.getElementById('split').getAttribute('aria-valuetext')") == "47 % photograph"
    shown.key("Home")
    assert shown.evaluate(AT) == 0


def test_every_background_is_chosen(shown, tmp_path):
    Image.new("RGB", (40, 30), (0, 200, 0)).save(tmp_path / "green.png")
    show(shown, "colour")
    reach(shown, "#d9453d")
    shown.key("Space")
    assert shown.evaluate("settings().colour") == "#d9453d"
    show(shown, "blur", back=True)
    reach(shown, "blur")
    shown.key("End")
    assert shown.evaluate("settings().blur") == 40
    show(shown, "picture", back=True)
    reach(shown, "background")
    shown.choose_in_dialog(tmp_path / "green.png", lambda: shown.key("Enter"))
    shown.wait_for("Boolean(settings().picture)")


KEPT = """(() => {
    const address = URL.createObjectURL;
    URL.createObjectURL = (blob) => { window.blob = blob; return address(blob); };
    HTMLAnchorElement.prototype.click = function () {
        const reader = new FileReader();
        reader.onload = () => window.saved = [this.download, reader.result.split(',')[1]];
        reader.readAsDataURL(window.blob);
    };
})()"""


def test_the_result_is_downloaded_and_that_is_said(shown):
    shown.evaluate(KEPT)
    reach(shown, "download")
    shown.key("Enter")
    name, content = shown.wait_for("window.saved")
    assert name == "cat-cutout.png"
    assert base64.b64decode(content).startswith(b"\x89PNG")
    shown.wait_for(f"{STATUS} === 'The download of cat-cutout.png has started.'")


def test_another_photograph_is_chosen(shown, cat):
    reach(shown, "again")
    shown.key("Enter")
    assert shown.evaluate(FOCUS) == "file"
    shown.choose_in_dialog(cat, lambda: shown.key("Enter"))
    shown.wait_for(READY)


def test_the_camera_starts_takes_a_picture_and_stops(page):
    page.evaluate(KEPT)
    reach(page, "start")
    page.key("Space")
    page.wait_for(ON)
    assert page.evaluate(FOCUS) == "shot"
    page.key("Enter")
    assert page.wait_for("window.saved")[0] == "camera-cutout.png"
    show(page, "mask")
    reach(page, "stop")
    page.key("Enter")
    page.wait_for(OFF)
    assert page.evaluate(FOCUS) == "start"


def test_no_key_is_caught(shown):
    """Tab leads through every place once and then out of the page, to where it began."""
    shown.evaluate("document.activeElement.blur()")
    places = []
    for _ in range(MOST):
        shown.key("Tab")
        places.append(shown.evaluate(FOCUS))
        if places.count(places[0]) > 1:
            break
    assert places.count(places[0]) > 1, places
    assert {"split", "show=cutout", "download", "again"} <= set(places)
    assert "file" not in places  # what is not shown is not reached
