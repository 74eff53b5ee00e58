"""What computes in the page of `--to web`: WebGPU, threads, or one thread. Its own server: test_web_server.py."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from support.browser import Browser
from support.networks import TINY, hard_checkpoint
from support.web import (
    ENDING,
    NEVER_STARTING,
    ONE_AT_A_TIME,
    SIZE,
    are_the_networks,
    close,
    copied,
    ended,
    folder_of,
    isolated,
    session_of,
    take_at_once,
    unadorned,
)

from converters.formats.web.probe import BOUND, picture
from converters.loading import read_source
from u2net_zoo import Session
from u2net_zoo.catalog import bundled
from u2net_zoo.checkpoint import Checkpoint

SOFTWARE = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")  # a graphics card that is computed
TINIEST = (32, 32)
ENGINE = "[engine.runs, engine.note, document.getElementById('note').textContent]"
PROBE = """fetch('page/worker.js').then((answer) => answer.text())
    .then((text) => Array.from(new Function(text + '; return probe({width: %d, height: %d});')()))"""


@pytest.fixture(scope="module")
def folder(small, store) -> Path:
    return folder_of(small, SIZE, store)


@pytest.fixture(scope="module")
def address(folder):
    """With the headers that isolate a page."""
    with isolated(folder) as found:
        yield found


@pytest.fixture(scope="module")
def plain(folder):
    """A web server that sends no header of its own."""
    with unadorned(folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def with_card(tmp_path_factory, address):
    opened = Browser(tmp_path_factory.mktemp("profile"), *SOFTWARE)
    opened.open(address)
    if not opened.evaluate("Boolean(navigator.gpu) && navigator.gpu.requestAdapter().then(Boolean)"):
        opened.close()
        pytest.skip("needs a Chromium with a WebGPU adapter in software")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photographs") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def several() -> dict[str, Image.Image]:
    pictures = {"first.png": data.astronaut(), "second.png": data.chelsea(), "third.png": data.coffee()}
    return {name: Image.fromarray(pixels).resize((97, 61)) for name, pixels in pictures.items()}


@pytest.fixture(scope="module")
def session(small) -> Session:
    return session_of(small, SIZE)


@pytest.fixture(scope="module")
def tiny() -> Checkpoint:
    """A graphics card of software takes seconds for a small network, and fewer for this one."""
    return hard_checkpoint(TINY)


@pytest.fixture(scope="module")
def tiny_folder(tiny, store) -> Path:
    return folder_of(tiny, TINIEST, store)


def mask(opened, photograph: Path) -> np.ndarray:
    opened.evaluate("document.getElementById('facts').replaceChildren()")
    opened.evaluate("document.getElementById('file').value = ''")  # choosing the same file again is no change
    opened.choose("#file", photograph)
    error = "document.getElementById('error')"
    opened.wait_for(f"document.getElementById('facts').childNodes.length || {error}.textContent", 300)
    assert opened.evaluate(f"{error}.textContent") == ""
    return np.array(opened.evaluate("Array.from(u2zoo.mask())"), np.int16)


def is_the_networks(opened, session: Session, photograph: Path) -> bool:
    return close(mask(opened, photograph), session, Image.open(photograph))


def changed(folder: Path, place: Path, **probe) -> Path:
    """A copy whose page is told something else of the known answer."""
    about = json.loads((folder / "model.json").read_text("utf-8"))
    about["probe"] |= probe
    return copied(folder, place, "model.json", json.dumps(about))


def with_worker(folder: Path, place: Path, before: str = "", after: str = "") -> Path:
    """A copy whose worker has more to its script."""
    return copied(folder, place, "page/worker.js", before + (folder / "page/worker.js").read_text("utf-8") + after)


def test_an_isolated_page_computes_in_threads(browser, address, session, astronaut):
    browser.open(address)
    assert is_the_networks(browser, session, astronaut)
    runs, note, _ = browser.evaluate(ENGINE)
    cores = browser.evaluate("navigator.hardwareConcurrency")
    wanted = min(cores, max(2, min(8, cores // 2)))
    assert runs == (f"wasm, {wanted} threads" if wanted > 1 else "wasm, one thread")
    assert note == ""
    assert "wasm" in browser.evaluate("document.getElementById('facts').textContent")


def test_a_page_that_is_not_isolated_computes_in_one(browser, plain, session, astronaut):
    browser.open(plain)
    assert is_the_networks(browser, session, astronaut)
    assert browser.evaluate(ENGINE) == ["wasm, one thread", "", ""]


def test_a_graphics_card_that_does_not_exist_is_no_complaint(browser, address, session, astronaut):
    browser.open(address + "?engine=webgpu")
    assert is_the_networks(browser, session, astronaut)
    assert browser.evaluate("[engine.runs.slice(0, 4), engine.note]") == ["wasm", ""]


@pytest.mark.full
def test_webgpu_gives_the_networks_masks_until_the_card_is_lost(with_card, tiny, tiny_folder, astronaut, several):
    """Of two runs at once neither ended: two photographs had no mask after 45 s (2026-11-26)."""
    session = session_of(tiny, TINIEST)
    with isolated(tiny_folder) as address:
        with_card.open(address + "?engine=webgpu")
        assert is_the_networks(with_card, session, astronaut)
        take_at_once(with_card, several)
        assert are_the_networks(ended(with_card, 3), session, several)
        assert with_card.evaluate(ENGINE) == ["WebGPU", "", ""]
        take_at_once(with_card, several)
        with_card.send("Browser.crashGpuProcess")
        assert are_the_networks(ended(with_card, 3), session, several)
        assert is_the_networks(with_card, session, astronaut)
        runs, note, said = with_card.evaluate(ENGINE)
    assert runs.startswith("wasm")
    assert note.startswith("The graphics card is not used (it was lost: ")
    assert said == note


def test_photographs_that_come_at_once_get_a_mask_each(browser, address, session, several):
    browser.open(address)
    take_at_once(browser, several)
    assert are_the_networks(ended(browser, 3), session, several)


def test_photographs_that_come_at_once_are_computed_one_after_the_other(browser, folder, session, several, tmp_path):
    """Of two runs at once neither ends on WebGPU."""
    with isolated(with_worker(folder, tmp_path, after=ONE_AT_A_TIME)) as address:
        browser.open(address)
        take_at_once(browser, several)
        assert are_the_networks(ended(browser, 3), session, several)


@pytest.mark.full
def test_what_a_card_has_not_answered_is_asked_of_one_processor(with_card, tiny, tiny_folder, several, tmp_path):
    """Two questions are open when its worker ends, and ask for a new one each."""
    with isolated(with_worker(tiny_folder, tmp_path, after=ENDING % ("model.check", "model.check"))) as address:
        with_card.open(address + "?engine=webgpu")
        with_card.evaluate("(window.workers = 0, Worker = class extends Worker { name = workers++; })")
        take_at_once(with_card, several)
        masks = ended(with_card, 3)
        runs, note, _ = with_card.evaluate(ENGINE)
        assert with_card.evaluate("workers") == 2
    assert are_the_networks(masks, session_of(tiny, TINIEST), several)
    assert runs.startswith("wasm")
    assert note.startswith("The graphics card is not used (Uncaught Error: it ended); ")


def test_a_worker_that_ends_is_said_of_every_photograph_and_another_takes_its_place(
    browser, folder, session, several, astronaut, tmp_path
):
    with isolated(with_worker(folder, tmp_path, after=ENDING % ("true", "true"))) as address:
        browser.open(address)
        two = {name: several[name] for name in ("first.png", "second.png")}
        take_at_once(browser, two)
        said = "the model does not run in this browser: Uncaught Error: it ended"
        assert ended(browser, 2) == dict.fromkeys(two, said)
        assert is_the_networks(browser, session, astronaut)
        browser.evaluate("engine.ready.then((thread) => thread.end(new Error('while nobody asks')))")
        assert is_the_networks(browser, session, astronaut)


def test_threads_that_do_not_start_leave_one(browser, folder, session, astronaut, tmp_path):
    with isolated(with_worker(folder, tmp_path, before=NEVER_STARTING)) as address:
        browser.open(address)
        if browser.evaluate("navigator.hardwareConcurrency") < 2:
            pytest.skip("needs two processors")
        browser.evaluate("engine.patience = 300")
        assert is_the_networks(browser, session, astronaut)
        runs, note, said = browser.evaluate(ENGINE)
    assert runs == "wasm, one thread"
    assert re.fullmatch(r"Several threads do not start \(.+ timeout: 300ms\); one thread does the work\.", note)
    assert said == note


@pytest.mark.full
def test_a_double_clicked_page_has_webgpu_too(with_card, tiny, tiny_folder, astronaut):
    with_card.open((tiny_folder / "index.html").as_uri() + "?engine=webgpu")
    assert is_the_networks(with_card, session_of(tiny, TINIEST), astronaut)
    assert with_card.evaluate(ENGINE) == ["WebGPU", "", ""]


@pytest.mark.full
def test_webgpu_gives_the_bundled_networks_mask(with_card, store, astronaut):
    """Of a small picture: at its own size it takes minutes in software."""
    nano, size = read_source(bundled("u2net_nano.safetensors")), (96, 96)
    with isolated(folder_of(nano, size, store)) as address:
        with_card.open(address + "?engine=webgpu")
        assert is_the_networks(with_card, session_of(nano, size), astronaut)
        assert with_card.evaluate(ENGINE) == ["WebGPU", "", ""]


def test_a_graphics_card_of_software_is_left_alone(with_card, address, session, astronaut):
    """It is slower than wasm: the bundled network takes it a minute (2026-11-26)."""
    with_card.open(address)
    assert is_the_networks(with_card, session, astronaut)
    assert with_card.evaluate("[engine.runs.slice(0, 4), engine.note]") == ["wasm", ""]


def test_an_answer_that_is_not_the_networks_is_not_shown(with_card, tiny, tiny_folder, astronaut, tmp_path):
    means = json.loads((tiny_folder / "model.json").read_text())["probe"]["means"]
    means[3] += 1.5 * BOUND  # one block of four is wrong
    with isolated(changed(tiny_folder, tmp_path, means=means)) as other:
        with_card.open(other + "?engine=webgpu")
        assert is_the_networks(with_card, session_of(tiny, TINIEST), astronaut)
        runs, note, said = with_card.evaluate(ENGINE)
    assert runs.startswith("wasm")
    reason = r"its answer is off by 0\.00\d+; 0\.002 is allowed"
    assert re.fullmatch(rf"The graphics card is not used \({reason}\); the processor is used instead\.", note)
    assert said == note


def test_a_runtime_that_does_not_load_is_said(with_card, folder, session, astronaut, tmp_path):
    copy = changed(folder, tmp_path)
    (copy / "runtime" / "ort.webgpu.bundle.min.mjs").unlink()
    with isolated(copy) as other:
        with_card.open(other + "?engine=webgpu")
        assert is_the_networks(with_card, session, astronaut)
        runs, note, _ = with_card.evaluate(ENGINE)
    assert runs.startswith("wasm")
    assert "ort.webgpu.bundle.min.mjs: the web server answered 404" in note


@pytest.mark.parametrize(("height", "width"), [(64, 96), (37, 21)])
def test_the_page_draws_the_picture_whose_answer_is_known(browser, plain, height, width):
    browser.open(plain)
    found = np.array(browser.evaluate(PROBE % (width, height)), np.float32)
    assert np.array_equal(found.reshape(1, 3, height, width), picture(height, width))


def test_its_own_server_lets_the_page_send_nothing_elsewhere(browser, address, plain):
    browser.open(address)
    told = browser.evaluate(f"fetch('{plain}', {{mode: 'no-cors'}}).then(() => 'sent', (error) => error.name)")
    assert told == "TypeError"
    assert any("Content Security Policy" in text for text in browser.complaints())
