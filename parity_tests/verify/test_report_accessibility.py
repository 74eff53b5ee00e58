"""The parity report as axe-core sees it, and by keyboard alone."""

import pytest
from support import axe
from support.browser import Browser

OPEN = "for (const details of document.querySelectorAll('details')) details.open = true"


@pytest.fixture(scope="module")
def browser(request, tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))  # or a skip, before the page is made
    request.getfixturevalue("reported")
    yield opened
    opened.close()


@pytest.fixture
def page(browser, reported):
    browser.screen(1280, 900)
    browser.scheme("light")
    browser.open(reported.page)
    return browser


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme, width, height):
    page.screen(width, height, mobile=width < 500)
    page.scheme(scheme)
    assert axe.findings(page) == []
    page.evaluate(OPEN)
    assert axe.findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_another_artifact_is_shown_by_keyboard_and_that_is_announced(page):
    page.evaluate("""(() => {
        window.heard = [];
        const region = document.querySelector('.photo [aria-live=polite]');
        new MutationObserver(() => heard.push(region.textContent)).observe(region, {childList: true, subtree: true});
        document.querySelector('.photo .compare input').focus();
    })()""")
    pressed = "document.activeElement.getAttribute('aria-pressed')"
    while page.evaluate(pressed) != "false":
        page.key("Tab")
        assert page.evaluate("document.querySelector('.photo').contains(document.activeElement)")
    page.key("Space")
    assert page.evaluate(pressed) == "true"
    assert page.evaluate("heard") == ["mask of small.onnx"]


def test_details_open_by_keyboard(page):
    page.evaluate("document.querySelector('.card summary').focus()")
    page.key("Enter")
    assert page.evaluate("document.querySelector('.card details').open")
    page.key("Tab")  # its table may be wider than a phone: it takes the focus, and has a name
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Outputs of ")


@pytest.mark.parametrize(("wish", "scroll"), [("no-preference", "smooth"), ("reduce", "auto")])
def test_nothing_scrolls_smoothly_for_who_wants_no_motion(page, wish, scroll):
    page.prefers("reduced-motion", wish)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == scroll
