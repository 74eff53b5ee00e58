"""Both pages in every state, scheme and width, as axe-core sees them; and what those get who see no page at all."""

from itertools import product
from pathlib import Path

import pytest
from PIL import Image
from skimage import data
from support import axe
from support.browser import Browser
from support.cameras import COMPLAINT, ON, STATUS, click, filmed, seeing
from support.lasting import full_for
from support.serving import served, shared_model
from support.web import SIZE, folder_of, isolated

READY = f"!document.getElementById('result').hidden && {STATUS} === 'The result is ready.'"
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
CHOICES = ("cutout", "mask", "colour", "blur", "picture")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """`cat.jpg`, and `notes.txt`, which is no photograph."""
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(data.chelsea()).save(folder / "cat.jpg")
    (folder / "notes.txt").write_text("no photograph")
    return folder


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
def browser(address, tmp_path_factory):
    film = filmed(Image.fromarray(data.astronaut()).resize((320, 240)), tmp_path_factory.mktemp("film") / "a.y4m")
    opened = Browser(tmp_path_factory.mktemp("profile"), *seeing(film))
    yield opened
    opened.close()


@pytest.fixture
def page(browser, address):
    browser.screen(*SCREENS["desktop"])
    browser.scheme("light")
    browser.open(address)
    return browser


def result(page: Browser, files: Path) -> None:
    page.choose("#file", files / "cat.jpg")
    page.wait_for(READY)


def error(page: Browser, files: Path) -> None:
    page.choose("#file", files / "notes.txt")
    page.wait_for(COMPLAINT)


def camera(page: Browser, files: Path) -> None:
    click(page, "start")
    page.wait_for(ON)


STATES = {"empty": lambda page, files: None, "result": result, "error": error, "camera": camera}


@pytest.mark.parametrize(
    ("screen", "scheme"),
    full_for(product(SCREENS, ("light", "dark")), ("phone", "light"), ("desktop", "dark")),
)
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(page, files, state, scheme, screen):
    width, height = SCREENS[screen]
    page.screen(width, height, mobile=screen == "phone")
    page.scheme(scheme)
    STATES[state](page, files)
    for choice in CHOICES if state in ("result", "camera") else CHOICES[:1]:
        page.evaluate(f"document.querySelector('input[value={choice}]').click()")
        assert axe.findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_axe_would_find_it(page):
    """What the claim above stands on: a picture and a button without words, and text that is too pale."""
    page.evaluate("""(() => {
        document.querySelector('main').append(document.createElement('button'), new Image());
        document.querySelector('h1').style.color = '#ccc';
    })()""")
    assert {line.split(" (")[0] for line in axe.findings(page)} == {
        "critical: button-name", "critical: image-alt", "serious: color-contrast"
    }  # fmt: skip


def tree(page: Browser) -> dict[str, list[str]]:
    """What a screen reader is given: the names of all that is not ignored, by role."""
    nodes = [n for n in page.send("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
    found: dict[str, list[str]] = {}
    for node in nodes:
        found.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    return found


def test_pictures_say_what_they_show(page, files):
    result(page, files)
    assert tree(page)["image"] == ["Original: cat", "Cut-out: cat"]
    page.evaluate("document.querySelector('input[value=mask]').click()")
    assert tree(page)["image"] == ["Original: cat", "Mask: cat"]
    page.evaluate("document.getElementById('again').click()")
    camera(page, files)
    assert tree(page)["image"] == ["Mask: camera"]  # one picture: there is nothing to compare


def test_colours_have_names_and_the_chosen_one_is_told(page, files):
    result(page, files)
    page.evaluate("document.querySelector('input[value=colour]').click()")
    names = list(page.evaluate("COLOURS"))
    assert names == [name for name in tree(page)["button"] if name in names]
    page.evaluate("document.querySelector('#swatches button[title=green]').click()")
    pressed = "[...document.querySelectorAll('#swatches [aria-pressed=true]')].map((button) => button.title)"
    assert page.evaluate(pressed) == ["green"]


HEARD = """(() => {
    window.heard = [];
    for (const region of document.querySelectorAll('[role=status], [role=alert]')) {
        if (region.checkVisibility()) new MutationObserver(() => heard.push([region.role, region.textContent])).observe(
            region, {childList: true, characterData: true, subtree: true});
    }
})()"""


def test_results_and_errors_are_announced(page, files):
    """In regions that are there before their words: screen readers miss those that come with them."""
    page.evaluate(HEARD)
    result(page, files)
    assert ["status", "The result is ready."] in page.evaluate("heard")
    error(page, files)
    assert any(role == "alert" and "notes.txt" in text for role, text in page.evaluate("heard"))
    page.evaluate("document.getElementById('again').click(), heard.length = 0")
    camera(page, files)
    assert ["status", "The camera is on."] in page.evaluate("heard")


@pytest.mark.parametrize(("wish", "animation"), [("no-preference", "turn"), ("reduce", "none")])
def test_nothing_turns_for_who_wants_no_motion(page, wish, animation):
    page.prefers("reduced-motion", wish)
    page.evaluate("say('Working …', true)")
    assert page.evaluate("getComputedStyle(document.querySelector('.busy'), '::before').animationName") == animation


def test_what_is_chosen_can_be_seen_where_windows_replaces_colours(page):
    page.send("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    style = "getComputedStyle(document.querySelector('input[name=show]%s + span')).backgroundColor"
    assert page.evaluate(style % ":checked") != page.evaluate(style % ":not(:checked)")


def test_where_nothing_can_be_dropped_nothing_says_so(page):
    visible = "document.querySelector('.drop .big').checkVisibility()"
    assert page.evaluate(visible)
    page.screen(*SCREENS["phone"], mobile=True)
    assert not page.evaluate(visible)


@pytest.mark.parametrize("address", ["server"], indirect=True)
def test_axe_finds_nothing_on_the_page_about_the_api(page, address):
    page.open(address + "docs")
    assert page.evaluate("document.title") == "u2zoo serve: API"
    for screen, (width, height) in SCREENS.items():
        page.screen(width, height, mobile=screen == "phone")
        assert axe.findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
