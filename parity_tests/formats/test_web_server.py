"""`serve.py` of `--to web`: what it sends, and which ports it takes. It needs neither a browser nor the runtime."""

import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import requests
from support.web import isolated

from converters.formats.web.page_server import HEADERS

WEB = files("converters.formats.web")
TYPES = {"app.js": "text/javascript", "model.json": "application/json", "ort.wasm": "application/wasm"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("web")
    shutil.copy(WEB / "page_server.py", place / "serve.py")
    for name in ("index.html", *TYPES):
        (place / name).write_bytes(b"a file")
    return place


@pytest.fixture(scope="module")
def address(folder):
    with isolated(folder) as found:
        yield found


def refused(folder: Path, *arguments: str) -> str:
    """What it says, in its one line."""
    command = [sys.executable, folder / "serve.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_it_sends_what_isolates_a_page_with_every_file(address):
    for name in ("", *TYPES, "missing"):
        answer = requests.get(address + name, timeout=60)
        assert {key: answer.headers[key] for key in HEADERS} == HEADERS
    assert {name: requests.head(address + name, timeout=60).headers["content-type"] for name in TYPES} == TYPES


def test_hosts_are_told_the_same_headers():
    stated = dict(re.findall(r"^  ([A-Za-z-]+): (.+)$", (WEB / "_headers").read_text("utf-8"), re.MULTILINE))
    assert stated
    assert all(HEADERS[name] == value for name, value in stated.items())


def test_a_port_that_is_taken_is_one_line(address, folder):
    port = address.rstrip("/").rpartition(":")[2]
    said = refused(folder, port)
    assert said.startswith(f"error: port {port} cannot be had (another program has it); ports are 0 to 65535; ")
    assert said.endswith("python3 serve.py 0 takes one that is free\n")


@pytest.mark.parametrize("text", ["80x", "65536", "-1", "", "1_000", "８０", "9" * 5000, "two\nlines"])
def test_what_is_no_port_is_one_line(folder, text):
    said = refused(folder, text)
    assert said == f"error: {text[:40]!a} is no port; ports are 0 to 65535, as in: python3 serve.py 8001\n"


def test_more_than_a_port_is_one_line(folder):
    assert refused(folder, "8000", "127.0.0.1") == (
        "error: 2 arguments; python3 serve.py takes one, a port from 0 to 65535\n"
    )
