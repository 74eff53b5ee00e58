"""Downloads from a real server that truncates, lies, stalls and dies: only what is verified becomes the cached file."""

import hashlib
import time
from pathlib import Path

import pytest
from support.commands import left
from support.networks import hard_checkpoint
from support.webserver import BODY, SHA

from u2net_zoo.arch import U2NETP
from u2net_zoo.catalog import Entry, File, Source
from u2net_zoo.downloads import fetch
from u2net_zoo.errors import DownloadError, OptionError, OutputError

pytestmark = pytest.mark.usefixtures("home")


def source(url: str, **fields) -> Source:
    return Source(url, "w.bin", **{"bytes": len(BODY), "sha256": SHA, **fields})


def entry(*sources: Source, architecture: str = "from shapes") -> Entry:
    return Entry("w", "testing", architecture, "paper", "mask", "none", "none", "none", sources)


@pytest.mark.parametrize("manner", ["ok", "unsized", "slow", "moved"])
def test_a_good_file_is_kept(server, home, manner, monkeypatch):
    monkeypatch.setenv("U2ZOO_TIMEOUT", "5")
    result = fetch(entry(source(f"{server.base}/{manner}/w.bin")))
    assert result.path == home / "w" / "w.bin"
    assert result.path.read_bytes() == BODY
    assert (result.sha256, result.bytes, result.verified, result.cached) == (SHA, len(BODY), True, False)
    assert left(home) == ["w/w.bin"]


def test_the_second_time_nothing_is_asked_for(server):
    weights = entry(source(f"{server.base}/ok/w.bin"))
    assert not fetch(weights).cached
    assert fetch(weights).cached
    assert server.requests == ["/ok/w.bin"]


BAD = {
    "truncated": "expected 300000 bytes, got 150000; the connection ended early",
    "announces-more": "expected 300000 bytes, the server announces 300100; the file was replaced",
    "announces-less": "expected 300000 bytes, the server announces 299900; the file was replaced",
    "flipped": f"expected sha256 {SHA}, got (?!{SHA})[0-9a-f]{{64}}; the file was replaced, or damaged",
    "endless": "expected at most 300000 bytes, the server sends more; stopped",
    "missing": "HTTP 404 Not Found: the file has moved or is gone",
    "broken": "HTTP 500 Internal Server Error: the server is in trouble",
    "page": "the server sent a web page instead of the file: 'Sign in & go on'",
    "disguised-page": "the server sent a web page instead of the file: 'Sign in & go on'",
    "stalls": "no answer for 0.5 s",
    "silent": "no answer for 0.5 s",
    "trickles": "bytes arrived in .* s; the connection has stalled",
    "circle": "TooManyRedirects",
    "quota": "the server sent a web page instead of the file: 'Google Drive - Quota exceeded'",
}


@pytest.mark.parametrize("manner", BAD)
def test_a_bad_answer_is_one_error_and_leaves_nothing(server, home, manner):
    start = time.monotonic()
    with pytest.raises(DownloadError, match=BAD[manner]) as caught:
        fetch(entry(source(f"{server.base}/{manner}/w.bin")))
    assert time.monotonic() - start < 5
    assert str(caught.value).startswith("w: not fetched: 127.0.0.1 (w.bin): ")
    assert left(home) == []
    assert not list(home.rglob("*.bin"))


def test_an_endless_body_is_cut_off_at_the_known_size(server):
    with pytest.raises(DownloadError):
        fetch(entry(source(f"{server.base}/endless/w.bin")))
    assert server.sent < 40 * len(BODY)  # what the sockets' buffers take; 10,000 were on offer


def test_sources_are_tried_in_turn(server, home):
    urls = [f"{server.base}/{manner}/w.bin" for manner in ("missing", "flipped", "truncated", "ok", "silent")]
    result = fetch(entry(*map(source, urls)))
    assert result.source == urls[3]
    assert [path.split("/")[1] for path in server.requests] == ["missing", "flipped", "truncated", "ok"]
    assert left(home) == ["w/w.bin"]


def test_when_all_sources_fail_the_error_tells_of_each(server):
    with pytest.raises(DownloadError, match=r"HTTP 404.*; 127\.0\.0\.1 \(w\.bin\): HTTP 500"):
        fetch(entry(source(f"{server.base}/missing/w.bin"), source(f"{server.base}/broken/w.bin")))


def test_nobody_listens(server):
    server.close()
    with pytest.raises(DownloadError, match=r"the connection failed .*refused"):
        fetch(entry(source(f"{server.base}/ok/w.bin")))


def test_google_drives_warning_page_is_confirmed(server, home):
    result = fetch(entry(source(f"{server.base}/uc?export=download&id=w.bin", kind="gdrive")))
    assert result.path.read_bytes() == BODY
    assert server.requests[0] == "/uc?export=download&id=w.bin"
    assert server.requests[1].startswith("/download?id=w.bin&export=download&confirm=t&uuid=1b-2%26c")


def test_only_google_drive_is_confirmed(server):
    with pytest.raises(
        DownloadError, match="the server sent a web page instead of the file: 'Google Drive - Virus scan warning'"
    ):
        fetch(entry(source(f"{server.base}/uc?export=download&id=w.bin")))
    assert len(server.requests) == 1


def test_google_drive_sends_small_files_at_once(server):
    fetch(entry(source(f"{server.base}/ok/w.bin?id=1", kind="gdrive")))
    assert len(server.requests) == 1


def test_google_drive_is_not_asked_for_ever(server):
    with pytest.raises(DownloadError, match="Google Drive asked again after the confirmation"):
        fetch(entry(source(f"{server.base}/uc?export=download&id=again", kind="gdrive")))
    assert len(server.requests) == 2


def test_google_drives_other_pages_are_no_files(server):
    with pytest.raises(DownloadError, match="Google Drive - Quota exceeded"):
        fetch(entry(source(f"{server.base}/quota?id=w.bin", kind="gdrive")))


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.base)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert fetch(entry(source("http://weights.invalid/ok/w.bin"))).path.read_bytes() == BODY
    assert server.requests == ["http://weights.invalid/ok/w.bin"]


def test_files_that_belong_together_come_together(server, home):
    (server.folder / "w.param").write_bytes(b"layers")
    param = hashlib.sha256(b"layers").hexdigest()
    beside = (File(f"{server.base}/ok/w.bin", "w.bin", len(BODY), SHA),)
    pair = Source(f"{server.base}/ok/w.param", "w.param", 6, param, beside=beside)
    assert fetch(entry(pair)).path.name == "w.param"
    assert left(home) == ["w/w.bin", "w/w.param"]
    (home / "w" / "w.bin").write_bytes(b"damaged")
    assert not fetch(entry(pair)).cached
    assert (home / "w" / "w.bin").read_bytes() == BODY


def test_a_pair_of_which_one_fails_is_not_kept(server, home):
    (server.folder / "w.param").write_bytes(b"layers")
    beside = (File(f"{server.base}/truncated/w.bin", "w.bin", len(BODY), SHA),)
    with pytest.raises(DownloadError, match="150000"):
        fetch(entry(Source(f"{server.base}/ok/w.param", "w.param", 6, beside=beside)))
    assert left(home) == []


class TestWithoutAPublishedHash:
    """Such a file is believed when it reads as the right network."""

    @pytest.fixture
    def u2netp(self, server) -> Path:
        import torch

        tensors = {key: torch.from_numpy(v) for key, v in hard_checkpoint(U2NETP).full_state().items()}
        torch.save(tensors, server.folder / "w.pth")
        return server.folder / "w.pth"

    def test_the_right_network_is_kept_and_its_hash_noted(self, server, home, u2netp):
        weights = entry(Source(f"{server.base}/ok/w.pth", "w.pth"), architecture="u2netp")
        result = fetch(weights)
        assert result.sha256 == hashlib.sha256(u2netp.read_bytes()).hexdigest()
        assert not result.verified
        assert left(home) == ["w/w.pth", "w/w.pth.sha256"]
        assert fetch(weights).cached
        (home / "w" / "w.pth").write_bytes(b"damaged later")
        assert not fetch(weights).cached

    @pytest.mark.usefixtures("u2netp")
    def test_another_network_is_refused(self, server, home):
        with pytest.raises(DownloadError, match="no hash is published, and it holds u2netp, not u2net"):
            fetch(entry(Source(f"{server.base}/ok/w.pth", "w.pth"), architecture="u2net"))
        assert left(home) == []

    @pytest.mark.parametrize(("manner", "message"), [
        ("ok", "does not read as u2netp: "),
        ("truncated", "expected 300000 bytes, got 150000"),
        ("endless", "expected at most 57"),
    ])  # fmt: skip
    def test_what_is_no_network_is_refused(self, server, home, manner, message):
        (server.folder / "w.pth").write_bytes(BODY)
        with pytest.raises(DownloadError, match=message):
            fetch(entry(Source(f"{server.base}/{manner}/w.pth", "w.pth"), architecture="u2netp"))
        assert left(home) == []


def test_a_damaged_cached_file_is_fetched_again(server, home):
    weights = entry(source(f"{server.base}/ok/w.bin"))
    path = fetch(weights).path
    path.write_bytes(BODY[:-1] + b"?")
    assert not fetch(weights).cached
    assert path.read_bytes() == BODY


def test_offline_uses_what_is_there_and_asks_nobody(server, home, monkeypatch):
    weights = entry(source(f"{server.base}/ok/w.bin"))
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"w: not in the cache .* U2ZOO_OFFLINE"):
        fetch(weights)
    assert server.requests == []
    assert not home.exists()
    monkeypatch.setenv("U2ZOO_OFFLINE", "0")
    fetch(weights)
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    assert fetch(weights).cached
    (home / "w" / "w.bin").write_bytes(bytes(len(BODY)))
    with pytest.raises(DownloadError, match="w: damaged in the cache"):
        fetch(weights)


def test_a_cache_that_cannot_be_written(server, home):
    home.write_text("a file is in the way")
    with pytest.raises(OutputError, match="cannot write there"):
        fetch(entry(source(f"{server.base}/ok/w.bin")))


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_timeout_is_a_number_of_seconds(server, monkeypatch, text):
    monkeypatch.setenv("U2ZOO_TIMEOUT", text)
    with pytest.raises(OptionError, match="allowed are seconds above 0"):
        fetch(entry(source(f"{server.base}/ok/w.bin")))
