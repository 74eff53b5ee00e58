"""The page of `u2zoo serve` and the page about its API, as they are sent: no browser looks at them here."""

import asyncio
import dataclasses
import functools
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from u2net_zoo.apps import APPLICATIONS
from u2net_zoo.serve.limits import Limits
from u2net_zoo.serve.query import file_fields
from u2net_zoo.serve.server import OWN, PAGE, create_app

PAGES = [*PAGE.iterdir(), *(files(OWN[0]) / OWN[1]).iterdir()]  # what both pages share, and the server's own

SCRIPTS = ("compose.js", "engine.js", "app.js", "camera.js")
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@functools.cache
def application():
    return create_app(lambda kind: pytest.fail("the network was asked"), Limits())


def asked(path: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of a GET; no connection is made."""
    messages: list[dict] = []

    async def receive() -> dict:
        return await asyncio.Event().wait()  # there is no body, and nobody hangs up

    async def send(message: dict) -> None:
        messages.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": []}
    asyncio.run(application()(scope | {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}, receive, send))
    headers = {key.decode(): value.decode() for key, value in messages[0]["headers"]}
    return messages[0]["status"], headers, b"".join(m.get("body", b"") for m in messages[1:]).decode()


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))

    def every(self, attribute: str) -> list[str]:
        return [values[attribute] for _, values in self.found if attribute in values]


@pytest.fixture(scope="module")
def page() -> Tags:
    return Tags(asked("/")[2])


@pytest.fixture(scope="module")
def script() -> str:
    return "\n".join(asked(f"/page/{name}")[2] for name in SCRIPTS)


@pytest.fixture(scope="module")
def api() -> dict:
    return json.loads(asked("/openapi.json")[2])["paths"]


def test_the_page_loads_all_its_files_and_each_is_sent_as_what_it_is(page):
    loaded = [
        link
        for tag, values in page.found
        if tag in ("script", "link")
        for link in (values.get("src"), values.get("href"))
        if link
    ]
    assert {link.removeprefix("page/") for link in loaded} == {path.name for path in PAGES} - {"index.html"}
    for link in loaded:
        status, headers, body = asked("/" + link)
        assert (status, headers["content-type"].split(";")[0]) == (200, KINDS[link[link.rindex(".") :]]), link
        (file,) = (path for path in PAGES if path.name == link.removeprefix("page/"))
        assert body == file.read_text(encoding="utf-8")


def test_scripts_come_in_an_order_in_which_each_finds_what_it_uses(page):
    assert tuple(src.removeprefix("page/") for src in page.every("src")) == SCRIPTS
    assert all("defer" in values for tag, values in page.found if tag == "script")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_stands_in_a_page_that_its_own_policy_blocks(path):
    """Inline scripts, styles and handlers."""
    status, headers, text = asked(path)
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/html")
    assert "script-src 'self'; style-src 'self'" in headers["content-security-policy"]
    assert headers["permissions-policy"] == "camera=(self), microphone=()"
    isolating = [headers[f"cross-origin-{name}"] for name in ("opener-policy", "embedder-policy", "resource-policy")]
    assert isolating == ["same-origin", "require-corp", "same-origin"]
    for tag, values in Tags(text).found:
        assert tag != "style"
        assert tag != "script" or values["src"]
        assert not [name for name in values if name == "style" or name.startswith("on")], (tag, values)


def test_scripts_find_every_element_that_they_ask_for_and_no_control_lies_idle(page, script):
    used = set(re.findall(r'\$\("(\w+)"\)', script))
    present = page.every("id")
    assert len(present) == len(set(present))
    assert used <= set(present)
    controls = {values["id"] for tag, values in page.found if tag in ("button", "input", "select") and "id" in values}
    assert controls - used == set()
    listened = set(re.findall(r'\$\("(\w+)"\)\.addEventListener', script))
    assert controls == listened


def test_every_choice_of_the_page_is_drawn_and_its_settings_belong_to_one(page, script):
    choices = [values["value"] for tag, values in page.found if values.get("name") == "show"]
    table = script[script.index("const backgrounds = {") :]
    drawn = re.findall(r"^  (\w+): ", table[: table.index("\n};")], re.MULTILINE)
    assert choices == drawn == ["cutout", "mask", "colour", "blur", "picture"]
    assert [values["value"] for _, values in page.found if "checked" in values] == ["cutout"]
    assert set(page.every("data-for")) < set(choices)


def test_the_page_asks_for_addresses_that_there_are(script, api):
    (address,) = re.findall(r'fetch\("([^"]+)", \{ method: "POST"', script)
    assert "post" in api["/" + address]
    links = re.findall(r'links: \[\["[^"]+", "([^"]+)"\]\]', script)
    assert [asked("/" + link)[0] for link in links] == [200]


def test_every_control_can_be_named_by_who_does_not_see_it(page):
    labelled = {values["for"] for tag, values in page.found if tag == "label" and "for" in values}
    for tag, values in page.found:
        if tag == "input" and values["type"] in ("range", "color"):
            assert values.get("aria-label") or values["id"] in labelled, values
        if tag == "canvas":
            assert values["aria-label"]


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_applications_options_are_the_apis_and_the_reference_pages(name, api):
    kind = APPLICATIONS[name]
    operation = api[f"/api/{name}"]["post"]
    sent = {p["name"] for p in operation["parameters"]}
    parts = set(operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"])
    assert sent | parts == {f.name for f in dataclasses.fields(kind)} | {"picture", "image"}
    assert parts == file_fields(kind) | {"image"}
    text = asked("/docs")[2]
    section = text[text.index(f"POST /api/{name}<") :]
    section = section[: section.index("</section>")]
    rows = re.findall(r"<tr><th scope=\"row\"><code>(\w+)</code></th><td>([^<]*)</td><td>([^<]*)</td>", section)
    assert {row[0] for row in rows} == sent - {"picture"}
    assert set(re.findall(r"File of the form: <code>(\w+)</code>", section)) == parts - {"image"}
    for parameter in operation["parameters"]:
        for option, type_, default in rows:
            if option == parameter["name"]:
                assert all(str(choice) in type_ for choice in parameter["schema"].get("enum", []))
                assert default == str(parameter["schema"].get("default", ""))


def test_the_reference_page_says_the_limits_that_hold():
    limits, text = Limits(), " ".join(asked("/docs")[2].split())
    assert f"At most {limits.bytes / 1e6:.4g} MB and {limits.pixels / 1e6:.4g} megapixels" in text
    assert f"{limits.timeout:g} seconds" in text
    assert f"at most {limits.queue} photographs" in text
