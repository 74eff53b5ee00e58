"""The page that `u2zoo verify --report` writes, in a real browser: what can be done with it, and how it looks."""

from pathlib import Path

import pytest
from support.browser import Browser, luminance
from support.reports import PHOTOGRAPHS


@pytest.fixture(scope="module")
def page(reported) -> Path:
    return reported.page


@pytest.fixture(scope="module")
def browser(request, tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))  # or a skip, before the page is made
    page = request.getfixturevalue("page")
    opened.screen(1280, 900)
    opened.open(page)
    yield opened
    opened.close()


SPLIT = "parseFloat(getComputedStyle(document.querySelector('.compare')).getPropertyValue('--at'))"
BOX = """(() => {
    const frame = document.querySelector('.compare');
    frame.scrollIntoView({block: 'center', behavior: 'instant'});
    const box = frame.getBoundingClientRect();
    return [box.x, box.y, box.width, box.height];
})()"""


def test_the_slider_follows_the_mouse(browser):
    x, y, width, height = browser.evaluate(BOX)
    browser.mouse("mousePressed", x + width / 2, y + height / 2)
    for part in (0.6, 0.7, 0.8):
        browser.mouse("mouseMoved", x + part * width, y + height / 2)
    browser.mouse("mouseReleased", x + 0.8 * width, y + height / 2)
    assert browser.evaluate(SPLIT) == pytest.approx(80, abs=6)


def test_the_slider_follows_the_keyboard(browser):
    browser.evaluate("document.querySelector('.compare input').focus()")
    before = browser.evaluate(SPLIT)
    for _ in range(5):
        browser.key("ArrowLeft", 37)
    assert browser.evaluate(SPLIT) == before - 5
    browser.key("Home", 36)
    assert browser.evaluate(SPLIT) == 0


def test_the_slider_follows_a_finger(browser):
    browser.screen(390, 800, mobile=True)
    try:
        x, y, width, height = browser.evaluate(BOX)
        browser.touch("touchStart", (x + 0.2 * width, y + height / 2))
        for part in (0.25, 0.3, 0.4):
            browser.touch("touchMove", (x + part * width, y + height / 2))
        browser.touch("touchEnd")
        assert browser.evaluate(SPLIT) == pytest.approx(40, abs=8)
    finally:
        browser.screen(1280, 900)


def test_a_tile_changes_what_is_shown(browser):
    shown = "document.querySelector('.photo .large-mask').src"
    names = "[...document.querySelector('.photo').querySelectorAll('.chosen')].map(e => e.textContent)"
    before = browser.evaluate(shown)
    assert set(browser.evaluate(names)) == {"wrong.onnx"}
    browser.evaluate("document.querySelector('.photo .tile[aria-pressed=false]').click()")
    assert browser.evaluate(shown) != before
    assert set(browser.evaluate(names)) == {"small.onnx"}
    assert browser.evaluate("document.querySelector('.photo .plain').dataset.note") == "no pixel differs"


def test_every_picture_decodes(browser):
    decoded = "Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode()))).then(() => 'all')"
    assert browser.evaluate(decoded) == "all"
    assert browser.evaluate("document.images.length") == PHOTOGRAPHS * (4 + 2 * 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(browser, scheme):
    browser.scheme(scheme)
    ink, ground = (
        browser.evaluate(f"getComputedStyle(document.body).{key}.match(/[0-9]+/g).map(Number)")
        for key in ("color", "backgroundColor")
    )
    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 7  # WCAG's AAA
    assert (luminance(ground) > luminance(ink)) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_sideways(browser, width):
    browser.screen(width, 800, mobile=width < 500)
    try:
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        browser.screen(1280, 900)


def test_it_says_what_is_wrong_and_where(browser):
    text = browser.evaluate("document.querySelector('.card.wide').textContent")
    assert "align_corners=True" in text
    assert "stage1.rebnconv5d" in text
    assert browser.evaluate("document.querySelector('.result').textContent.trim()") == "1 of 2 artifacts differs"


def test_names_are_text_and_not_markup(browser):
    assert "photo & <0>.png" in browser.evaluate("document.querySelector('.photo h3').textContent")


def test_nothing_is_fetched_and_nothing_complains(browser, page):
    assert set(browser.requested()) <= {page.as_uri()}
    assert browser.complaints() == []
