"""Cameras that are refused, missing, in use or several: what the page says. Both pages have one script for it."""

import contextlib

import pytest
from PIL import Image
from skimage import data
from support.browser import Browser
from support.cameras import ASKED, COMPLAINT, FAKE, OFF, ON, REFUSED, TWO, click, filmed, next_frame, seeing
from support.serving import served, shared_model


@pytest.fixture(scope="module")
def server(small, store):
    """The address of the server's page."""
    with served(shared_model(small, store)) as running:
        yield running.base + "/"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"), *TWO)
    yield opened
    opened.close()


@contextlib.contextmanager
def opened(address, folder, *flags):
    other = Browser(folder, *flags)
    try:
        other.open(address)
        yield other
    finally:
        other.close()


@pytest.mark.parametrize(
    ("flags", "words"),
    [((FAKE, REFUSED), "The camera was refused; allow it"), ((ASKED,), "No camera was found; connect")],
)
def test_a_camera_that_is_refused_or_missing_is_said(server, tmp_path, flags, words):
    with opened(server, tmp_path, *flags) as other:
        click(other, "start")
        assert words in other.wait_for(COMPLAINT)
        assert other.evaluate("document.activeElement.id") == "start"
        assert other.evaluate(OFF)


def test_a_camera_that_another_program_has_is_said(browser, server):
    """Chromium's made-up cameras cannot be in use, so the refusal is made up here too."""
    browser.open(server)
    browser.evaluate("""navigator.mediaDevices.getUserMedia =
        () => Promise.reject(new DOMException('Could not start video source', 'NotReadableError'))""")
    click(browser, "start")
    assert "perhaps because another program uses it" in browser.wait_for(COMPLAINT)


def test_a_page_to_which_no_browser_gives_a_camera_says_so(browser, server):
    browser.open(server)
    browser.evaluate("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")  # as on http elsewhere
    click(browser, "start")
    assert "only on https pages and on this machine" in browser.wait_for(COMPLAINT)


def test_another_camera_can_be_chosen(browser, server):
    browser.open(server)
    click(browser, "start")
    browser.wait_for(ON)
    assert not browser.evaluate("document.getElementById('which').hidden")
    first = browser.evaluate("(window.track = u2zoo.camera.stream.getVideoTracks()[0]).getSettings().deviceId")
    browser.evaluate("document.getElementById('camera').focus()")
    browser.key("ArrowDown", 40)
    browser.wait_for(f"u2zoo.camera.stream && u2zoo.camera.id !== '{first}'")
    assert browser.evaluate("track.readyState") == "ended"
    next_frame(browser)
    assert browser.evaluate("document.activeElement.id") == "camera"


def test_a_server_that_ends_is_said_and_the_camera_goes_off(small, store, tmp_path):
    film = filmed(Image.fromarray(data.chelsea()).resize((320, 240)), tmp_path / "cat.y4m")
    with (
        served(shared_model(small, store)) as running,
        opened(running.base + "/", tmp_path / "profile", *seeing(film)) as other,
    ):
        click(other, "start")
        other.wait_for(ON)
        running.process.kill()
        assert "is u2zoo serve still running?" in other.wait_for(COMPLAINT)
        assert other.evaluate(OFF)
