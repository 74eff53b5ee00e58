"""`u2zoo watch` as a process: files that arrive in every way, an end, and another start."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from support.commands import called
from support.lasting import full_for
from support.photographs import photograph
from support.serving import shared_model

from u2net_zoo import Session
from u2net_zoo.apps import cutout
from u2net_zoo.apps.batch.events import native
from u2net_zoo.apps.batch.journal import ROOM

WAYS = {"events": (), "polling": ("--poll", "0.3")}
SOON = ("--settle", "0.5")


@pytest.fixture(scope="module")
def model(small, store) -> Path:
    return shared_model(small, store)


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return photograph("chelsea.png", 160)


@pytest.fixture(scope="module")
def png(cat) -> bytes:
    buffer = io.BytesIO()
    cat.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def expected(cat, model) -> np.ndarray:
    return np.asarray(cutout(cat, Session(model).mask(cat)))


class Watching:
    """A running command, and what it has said."""

    def __init__(self, folder: Path, model: Path, *options: str):
        self.given, self.out = folder / "in", folder / "out"
        self.given.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "u2net_zoo", "watch", self.given, self.out, "--model", model, *options]
        self.said, self.errors = folder / "said.txt", folder / "errors.txt"
        with self.said.open("w") as said, self.errors.open("w") as errors:
            self.process = subprocess.Popen([*map(str, command)], stdout=said, stderr=errors)

    def lines(self) -> list[str]:
        return self.said.read_text().splitlines()

    def rows(self) -> list[dict]:
        return [json.loads(line) for line in self.lines()]

    def wait_for(self, condition, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, (self.lines(), self.errors.read_text())
            time.sleep(0.05)

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def watching(folder: Path, model: Path, *options: str) -> Iterator[Watching]:
    running = Watching(folder, model, *options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def assert_done(out: Path, name: str, expected: np.ndarray) -> None:
    assert np.array_equal(np.asarray(Image.open(out / name)), expected)


@pytest.mark.parametrize("way", full_for(WAYS, "polling"))
def test_files_are_cut_out_when_they_are_whole_and_what_was_done_stays_done(way, model, png, expected, tmp_path):
    if way == "events":
        pytest.importorskip("watchdog")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "before.png").write_bytes(png)
    with watching(tmp_path, model, "--json", *SOON, *WAYS[way]) as running:
        running.wait_for(lambda: len(running.rows()) == 1)
        with (running.given / "slow.png").open("wb") as slow:  # longer than it takes to settle, in steps
            for start in range(0, len(png), len(png) // 8):
                slow.write(png[start : start + len(png) // 8])
                slow.flush()
                time.sleep(0.3)
                assert not (running.out / "slow.png").exists()
        (tmp_path / "aside.png").write_bytes(png)
        (tmp_path / "aside.png").rename(running.given / "moved.png")
        running.wait_for(lambda: len(running.rows()) == 3)
        assert running.stop(signal.SIGTERM) == 0
        rows = running.rows()
        assert running.errors.read_text() == ""
    assert {Path(row["cutout"]).name for row in rows} == {"before.png", "slow.png", "moved.png"}
    assert all(row["size"] == [160, 106] or row["size"] == [160, 107] for row in rows)
    for name in ("before.png", "slow.png", "moved.png"):
        assert_done(tmp_path / "out", name, expected)

    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("*.png")}
    with watching(tmp_path, model, "--json", *SOON, *WAYS[way]) as running:
        (running.given / "new.png").write_bytes(png)
        running.wait_for(lambda: running.rows())
        assert running.stop(signal.SIGINT) == 0
        assert [Path(row["image"]).name for row in running.rows()] == ["new.png"]
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert not list((tmp_path / "out").rglob("*.partial"))


@pytest.mark.full
def test_half_a_photograph_is_not_touched_and_a_broken_one_is_said_once(model, png, expected, tmp_path):
    with watching(tmp_path, model, *SOON) as running:
        running.wait_for(running.lines)
        assert running.lines()[0].endswith("Ctrl-C ends it")
        (running.given / "half.png").write_bytes(png[: len(png) // 2])
        (running.given / "broken.png").write_bytes(b"hello")
        time.sleep(4)  # both have settled, and cannot be decoded: either might still be on its way
        assert running.errors.read_text() == ""
        (running.given / "half.png").write_bytes(png)
        running.wait_for(lambda: (running.out / "half.png").exists())
        running.wait_for(lambda: running.errors.read_text())
        assert running.stop(signal.SIGINT) == 0
        (line,) = running.errors.read_text().splitlines()
        assert line.startswith(f"warning: {running.given / 'broken.png'}: not a photograph that can be read")
        assert running.lines()[-1] == "ended  1 cut-outs"
    assert_done(tmp_path / "out", "half.png", expected)


@pytest.mark.full
def test_folders_that_come_later_are_looked_into_and_the_application_has_its_options(model, png, cat, tmp_path):
    options = ("--recursive", "--app", "mask", "--threshold", "0.5", "--json")
    with watching(tmp_path, model, *SOON, *options) as running:
        (running.given / "deep").mkdir()
        (running.given / "deep" / "a.png").write_bytes(png)
        running.wait_for(running.rows)
        assert running.stop(signal.SIGTERM) == 0
    levels = np.asarray(Image.open(tmp_path / "out" / "deep" / "a.png"))
    assert set(np.unique(levels)) <= {0, 255}


@pytest.mark.full
def test_a_result_never_takes_the_place_of_a_photograph_or_of_the_model(model, png, tmp_path):
    given, out = tmp_path / "in", tmp_path / "out"
    for folder in (given / "deep", out):
        folder.mkdir(parents=True)
    (given / "deep" / "a.png").write_bytes(png)
    (given / "b.png").symlink_to(out / "b.png")
    (given / "c.png").write_bytes(png)
    (out / "deep").symlink_to(given)
    (out / "b.png").write_bytes(png)
    (out / "c.png").symlink_to(model)
    before = model.read_bytes()
    with watching(tmp_path, model, "--json", "--recursive", *SOON) as running:
        running.wait_for(lambda: len(running.rows()) == 3)
        (given / "new.png").write_bytes(png)
        running.wait_for(lambda: len(running.rows()) == 4)
        rows = {Path(row["image"]).name: row.get("error", "") for row in running.rows()}
    assert all("would replace a file that is read; rename" in rows[name] for name in ("a.png", "b.png", "c.png"))
    assert rows["new.png"] == ""
    assert not (given / "a.png").exists()
    assert (out / "b.png").read_bytes() == png
    assert (out / "c.png").samefile(model)
    assert model.read_bytes() == before


@pytest.mark.full
def test_a_target_that_cannot_be_written_does_not_end_it(model, png, expected, tmp_path):
    (tmp_path / "out" / "b.png").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.png").write_bytes(png)
    with watching(tmp_path, model, "--json", *SOON) as running:
        running.wait_for(running.rows)
        (row,) = running.rows()
        assert row["error"].startswith(f"{running.out / 'b.png'}: cannot write there")
        (running.given / "c.png").write_bytes(png)
        running.wait_for(lambda: len(running.rows()) == 2)
        assert running.stop(signal.SIGINT) == 0
    assert_done(tmp_path / "out", "c.png", expected)
    assert "b.png" not in (tmp_path / "out" / ROOM / "finished.jsonl").read_text()


@pytest.mark.full
def test_while_nothing_comes_it_takes_no_processor_time(model, png, tmp_path):
    """Measured 2026-11-26: none in 20 seconds, by a clock of 10 ms."""
    pytest.importorskip("watchdog")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png)
    with watching(tmp_path, model, "--json", *SOON) as running:
        running.wait_for(running.rows)
        time.sleep(2)
        process = psutil.Process(running.process.pid)
        before = process.cpu_times()
        time.sleep(5)
        after = process.cpu_times()
    assert after.user + after.system - before.user - before.system <= 0.05


def test_other_options_for_the_same_results_are_refused(model, png, tmp_path):
    with watching(tmp_path, model, "--json", *SOON) as running:
        (running.given / "a.png").write_bytes(png)
        running.wait_for(running.rows)
        busy = called("watch", running.given, running.out, "--model", model)
        assert "another run is writing there" in busy.stderr
        running.stop(signal.SIGTERM)
    done = called("watch", running.given, running.out, "--model", model, "--profile", "rembg")
    assert done.returncode == 2
    assert done.stderr.endswith("this one has 'rembg'; ask for the same, or name another OUT\n")


def test_our_own_results_and_reading_wake_nobody(tmp_path):
    pytest.importorskip("watchdog")
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    with native(str(tmp_path), str(out), recursive=True) as wakes:
        (out / "a.png").write_bytes(b"y")
        (tmp_path / "a.png").read_bytes()
        assert not wakes.wait(1.0)
        (tmp_path / "b.png").write_bytes(b"z")
        assert wakes.wait(10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none", "out"], "none: no such folder; IN and OUT come first"),
        (["in", "in"], "in: results would be taken for new photographs"),
        (["in", "."], ".: holds in, where photographs arrive; name a folder beside it"),
        (["deep/in", "."], ".: holds deep/in, where photographs arrive"),
        (["in", "a.png"], "a.png: is a file; name a folder for results"),
        (["in", "out", "--app", "cutoff"], "did you mean 'cutout'"),
        (["in", "out", "--poll", "0"], "--poll 0.0: allowed are seconds above 0"),
        (["in", "out", "--settle", "nan"], "--settle nan"),
        (["in", "out", "--margin", "2"], "No such option: --margin"),
        (["in", "out", "--matting", "best"], "unknown matting 'best'"),
        (["in", "out", "more"], "watch takes IN and OUT"),
        (["in", "out", "--engine", "ray"], "--engine does not go with watch"),
        (["in", "out", "--errors", "e.csv"], "--errors does not go with watch"),
        (["in", "out", "-o", "else"], "-o else: does not go with watch; results go into OUT, out"),
        (["in", "out", "--app", "boxes", "--resume"], "--resume does not go with watch: what was done before"),
        (["in", "out", "--model", "nothing.onnx"], "nothing.onnx: no such file"),
        (["in", "out", "--profile", "papier"], "did you mean 'paper'"),
    ],
)
def test_what_it_cannot_do_is_said_at_once(arguments, words, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "deep" / "in").mkdir(parents=True)
    (tmp_path / "a.png").touch()
    done = called("watch", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
