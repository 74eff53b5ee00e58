"""A hub that lies, stalls or says no, and what may not leave this machine: the real library against a server here."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import called, left, u2zoo
from support.data import NANO, ROOT
from support.hub_server import TOKEN

from u2net_zoo.errors import DownloadError, InputError, MissingExtraError
from u2net_zoo.hub.hub_files import fetch_from_hub
from u2net_zoo.hub.hub_name import hub_name

pytestmark = pytest.mark.usefixtures("home")

WEIGHTS = NANO.read_bytes()
OTHER = bytes(range(256)) * 20


def test_a_small_file_is_known_by_what_git_calls_it(hub, home):
    hub.add("me/nano", {"m.xml": b"<net/>", "m.bin": OTHER})
    hub.small = "flipped"
    with pytest.raises(DownloadError, match=r"m\.xml: not fetched: its content is not the one that the hub lists"):
        fetch_from_hub(hub_name("hf:me/nano"))
    assert left(home) == []


GATED = "not public, or given to those who ask for it"
FAULTS = {
    "cut": (("file", "cut"), "expected 5120 bytes, got 2560"),
    "flipped": (("file", "flipped"), "expected sha256 .*, got "),
    "larger": (("file", "larger"), "expected 5120 bytes, the server announces 5220"),
    "endless": (("file", "endless"), "expected at most 5120 bytes, "),
    "slow": (("file", "slow"), "the connection has stalled"),
    "silent": (("file", "silent"), "no answer for 0.5 s"),
    "file 401": (("file", 401), f"HTTP 401 Unauthorized: {GATED}"),
    "token as reason": (("resolve", "reason"), f"HTTP 403 Forbidden: {GATED}"),
    "token as title": (("resolve", "title"), "a web page instead of the file: 'x+ Bearer …'$"),
    "key in an address": (
        ("resolve", "ftp"),
        r"the connection failed \(InvalidSchema: No connection adapters .*ftp://x/y'\)",
    ),
    "file 404": (("file", 404), "HTTP 404 Not Found: the repository has lost this file"),
    "file 429": (("file", 429), "HTTP 429 Too Many Requests: too many downloads; try again later"),
    "no answer": (("info", "silent"), r"the hub did not answer in time \(U2ZOO_TIMEOUT\)"),
    "no JSON": (("info", "nonsense"), "the hub's answer makes no sense"),
    "info 401": (("info", 401), r"there is no such repository, or it is not public: check the name; .*hf auth login"),
    "info 403": (("info", 403), "HTTP 403: not allowed; .*hf auth login"),
    "info 429": (("info", 429), "HTTP 429: too many requests; try again in 7 s"),
    "info 503": (("info", 503), "HTTP 503: the hub is in trouble; try again later"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_bad_answer_is_one_error_without_the_token_and_leaves_nothing(hub, home, monkeypatch, fault, debug):
    hub.add("me/nano", {"w.pth": OTHER})
    hub.fault, message = FAULTS[fault]
    hub.headers = {"Retry-After": "7"}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    start = time.monotonic()
    done = called(*debug, "fetch", "hf:me/nano", "--json")
    assert time.monotonic() - start < 8
    assert (done.returncode, done.stdout) == (2, "")
    *traceback, last = done.stderr.splitlines()
    assert last.startswith("error: hf:me/nano")
    assert re.search(message, last), last
    assert bool(traceback) == bool(debug)
    assert TOKEN[:12] not in done.stderr
    assert "secretkeyofthefile" not in done.stderr
    assert left(home) == []


def test_the_token_goes_to_the_hub_and_not_to_where_it_leads(hub, monkeypatch):
    hub.add("me/nano", {"w.pth": OTHER}, private=True)
    with pytest.raises(DownloadError, match="no such repository, or it is not public"):
        fetch_from_hub(hub_name("hf:me/nano"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.requests.clear()
    assert fetch_from_hub(hub_name("hf:me/nano")).path.read_bytes() == OTHER
    assert [(path.split("/")[1], sent) for _, path, sent in hub.requests][:2] == [
        ("api", f"Bearer {TOKEN}"),
        ("me", f"Bearer {TOKEN}"),
    ]
    assert [sent for _, path, sent in hub.requests if "Signature" in path] == [None]


def test_a_gated_repository_says_where_to_ask(hub, home, monkeypatch):
    hub.add("me/nano", {"w.pth": OTHER}, gated=True)
    with pytest.raises(DownloadError, match=f"HTTP 403 Forbidden: {GATED} on its page at {hub.address}; log in with"):
        fetch_from_hub(hub_name("hf:me/nano"))
    assert left(home) == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch_from_hub(hub_name("hf:me/nano")).path.read_bytes() == OTHER


def test_an_unknown_revision(hub):
    hub.add("me/nano", {"w.pth": OTHER})
    with pytest.raises(DownloadError, match="hf:me/nano@v9: the repository has no such revision"):
        fetch_from_hub(hub_name("hf:me/nano@v9"))


ODD = [
    "../x.pth",
    "a/../../x.pth",
    "/x.pth",
    "a\\..\\x.pth",
    "C:x.pth",
    "con.pth/. ",
    "shots/12:00.png",
    "nul.pth",
    "A/COM1",
]


@pytest.mark.parametrize("path", ODD)
def test_an_odd_name_is_passed_over_and_never_fetched(hub, home, path):
    hub.add("me/nano", {path: OTHER, "w.pth": OTHER})
    assert fetch_from_hub(hub_name("hf:me/nano")).name.file == "w.pth"
    hub.add("me/odd", {path: OTHER})
    with pytest.raises(InputError, match="no file of a kind that can be read; it has nothing"):
        fetch_from_hub(hub_name("hf:me/odd"))
    assert {Path(file).name for file in left(home)} <= {"w.pth", "commit.json", "refs.json", "choice.txt"}


@pytest.mark.parametrize("path", ODD)
def test_an_odd_name_in_a_folder_that_is_fetched_is_refused(hub, home, path):
    hub.add("me/nano", {"n.mlpackage/Manifest.json": b"{}", f"n.mlpackage/{path}": OTHER})
    with pytest.raises(InputError, match=r"refused: .* is no path inside a repository"):
        fetch_from_hub(hub_name("hf:me/nano"))
    assert left(home) == []


def test_a_folder_is_bounded_as_a_file_is(hub, home, monkeypatch):
    hub.add("me/nano", {"n.mlpackage/Manifest.json": b"{}", "n.mlpackage/a": OTHER, "n.mlpackage/b": OTHER})
    monkeypatch.setattr("u2net_zoo.hub.hub_files.LARGEST", 2 * len(OTHER))
    with pytest.raises(DownloadError, match=r"n\.mlpackage: 10242 bytes, no network of the family has more than 10240"):
        fetch_from_hub(hub_name("hf:me/nano"))
    monkeypatch.setattr("u2net_zoo.hub.hub_files.LARGEST", 3 * len(OTHER))
    monkeypatch.setattr("u2net_zoo.hub.hub_files.MOST_FILES", 2)
    with pytest.raises(DownloadError, match=r"n\.mlpackage: 3 files, no network of the family has more than 2"):
        fetch_from_hub(hub_name("hf:me/nano"))
    assert (left(home), any("/resolve/" in path for path in hub.asked())) == ([], False)


def test_what_is_larger_than_any_network_is_not_fetched(hub, monkeypatch):
    monkeypatch.setattr("u2net_zoo.hub.hub_files.LARGEST", len(OTHER) - 1)
    hub.add("me/nano", {"w.pth": OTHER})
    with pytest.raises(DownloadError, match="5120 bytes, no network of the family has more than 5119"):
        fetch_from_hub(hub_name("hf:me/nano"))
    assert not any("/resolve/" in path for path in hub.asked())


def test_no_pickle_is_run(hub, tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    hub.add("me/bomb", {"w.pth": pickle.dumps([Bomb(), OTHER])})
    done = called("convert", "hf:me/bomb", "--to", "safetensors", "--out", tmp_path / "out")
    assert (done.returncode, (tmp_path / "ran").exists()) == (2, False)


REPORTS = """
import os, sys
os.environ.update(HF_ENDPOINT=sys.argv[1], HF_HOME=sys.argv[2])
{load}
library.HfApi().model_info("me/nano")
"""
OURS = "from u2net_zoo.hub.hub_client import unreported_hub; library = unreported_hub('it')"
BEFORE = f"from huggingface_hub import constants\n{OURS}"


@pytest.mark.parametrize(
    ("load", "reports"), [("import huggingface_hub as library", True), (OURS, False), (BEFORE, False)]
)
def test_the_library_asks_for_nothing_but_what_is_wanted(hub, tmp_path, load, reports):
    """Left alone it fetches a list of programs that may have started it, and tells which one it was."""
    hub.add("me/nano", {"w.pth": OTHER})
    kept = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")}
    program = [sys.executable, "-c", REPORTS.format(load=load), hub.address, str(tmp_path)]
    subprocess.run(program, env=kept, cwd=ROOT, check=True, timeout=60)
    expected = ["/api/agent-harnesses"] if reports else []
    assert hub.asked() == [*expected, "/api/models/me/nano"]


def test_without_the_library_the_extra_is_named(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'huggingface_hub'.*hub"):
        fetch_from_hub(hub_name("hf:me/nano"))


def test_nothing_but_the_hub_is_called(hub, tmp_path):
    from support.watching import WATCH, watched_calls

    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join(filter(None, (str(tmp_path / "watch"), os.environ.get("PYTHONPATH"))))
    hub.add("me/nano", {"nano.safetensors": WEIGHTS})
    environment = {**os.environ, "PYTHONPATH": path, "U2ZOO_CALLED": str(tmp_path / "called.txt")}
    done = u2zoo("info", "hf:me/nano", "--no-run", env=environment, cwd=ROOT)
    assert (done.returncode, watched_calls(tmp_path)) == (0, ""), done.stderr
    kinds = {re.sub(r"[0-9a-f]{40,}", "…", path) for path in hub.asked()}
    assert kinds == {"/api/models/me/nano/revision/main", "/me/nano/resolve/…/nano.safetensors", "/…"}
