"""Many photographs: the same results as one by one, whatever breaks, is killed or is interrupted on the way."""

import contextlib
import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from support.applications import Deadly, Photograph
from support.commands import called
from support.photographs import photograph

from converters import Options
from u2net_zoo import Session
from u2net_zoo.apps.batch.jobs import Job, jobs_of
from u2net_zoo.apps.batch.journal import ROOM, journal
from u2net_zoo.apps.batch.local import run
from u2net_zoo.apps.batch.work import failure
from u2net_zoo.apps.mask import Mask
from u2net_zoo.errors import OptionError, OutputError, U2ZooError

COUNT = 60


@pytest.fixture(scope="module")
def model(made) -> Path:
    """ONNX, which starts much faster than Torch, at a small size."""
    return made.one("onnx", Options(size=(64, 64), outputs="all")).path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Pieces of real photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    whole = photograph("chelsea.png")
    for index in range(COUNT):
        whole.crop((index, index, index + 96, index + 80)).save(folder / f"{index:02}.jpg")
    return folder


@pytest.fixture(scope="module")
def expected(model, photographs) -> dict[str, np.ndarray]:
    session = Session(model)
    return {f"{p.stem}.png": np.asarray(session.mask(Image.open(p))) for p in photographs.iterdir()}


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in folder.glob("*.png")}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


def test_many_are_what_each_is_alone_and_told_in_order(model, photographs, expected, tmp_path):
    done = called("mask", photographs, "-o", tmp_path, "--model", model, "--json", "--workers", "3")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["masks"]
    assert [row["image"] for row in rows] == [str(photographs / f"{index:02}.jpg") for index in range(COUNT)]
    assert all(row["size"] == [96, 80] for row in rows)
    assert_same(masks_of(tmp_path), expected)
    assert not (tmp_path / ROOM).exists()


def test_workers_load_no_framework(model, photographs, tmp_path):
    jobs = list(enumerate(jobs_of([str(photographs)], str(tmp_path), Photograph())))[:4]
    outcomes = sorted(run(lambda: Session(model), Photograph(), jobs, tmp_path, workers=2), key=lambda o: o.index)
    assert [outcome.facts["loaded"] for outcome in outcomes] == [[]] * 4
    assert os.getpid() not in {outcome.facts["process"] for outcome in outcomes}
    assert outcomes[1].files == {"": str(tmp_path / "01.png"), "_mask": str(tmp_path / "01_mask.png")}


def test_one_photograph_loads_what_it_needs_and_starts_no_process(model, photographs, tmp_path):
    code = (
        "import sys; from u2net_zoo.cli.commands import app; app(sys.argv[1:], standalone_mode=False);"
        "heavy = ('torch', 'tensorflow', 'skimage', 'scipy', 'multiprocessing.popen_spawn_posix');"
        "print([name for name in heavy if name in sys.modules])"
    )
    command = ["mask", photographs / "00.jpg", "-o", tmp_path / "m.png", "--model", model]
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["[]"], done.stderr


def test_broken_photographs_are_counted_and_named(model, photographs, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((photographs / "00.jpg").read_bytes())
    (folder / "b.jpg").write_bytes((photographs / "00.jpg").read_bytes()[:700])
    (folder / "c,d.jpg").touch()
    done = called("mask", folder, "-o", tmp_path / "out", "--model", model, "--errors", tmp_path / "errors.csv")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: 2 of 3 photographs failed; the others have their masks"
    rows = list(csv.reader((tmp_path / "errors.csv").open(encoding="utf-8", newline="")))
    assert rows[0] == ["path", "error"]
    assert sorted(path for path, _ in rows[1:]) == [str(folder / "b.jpg"), str(folder / "c,d.jpg")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [ROOM, "a.png"]


def test_a_target_that_cannot_be_written_is_one_photographs_failure(model, photographs, tmp_path):
    """A folder stands where b's result goes, a file where the folder of c's does."""
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "c").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c/c.jpg", "d.jpg"):
        (folder / name).write_bytes((photographs / "00.jpg").read_bytes())
    (out / "b.png").mkdir(parents=True)
    (out / "c").touch()
    done = called("mask", folder, "-o", out, "--recursive", "--model", model, "--workers", "1", "--json")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: 2 of 4 photographs failed; the others have their masks"
    failed = json.loads(done.stdout)["failed"]
    assert [row["image"] for row in failed] == [str(folder / "b.jpg"), str(folder / "c" / "c.jpg")]
    assert all("cannot write there" in row["error"] for row in failed)
    assert sorted(path.name for path in out.iterdir()) == [ROOM, "a.png", "b.png", "c", "d.png"]


@pytest.mark.parametrize(("code", "ends"), [(errno.ENOSPC, True), (errno.EIO, True), (errno.EISDIR, False)])
def test_a_full_disk_ends_a_run(code, ends):
    error = OutputError("a.png: cannot write there")
    error.__cause__ = OSError(code, "so")
    with pytest.raises(OutputError) if ends else contextlib.nullcontext():
        assert failure(3, Job("a.jpg", "a.png", "a.jpg"), error).error == "a.png: cannot write there"


def test_a_killed_worker_is_replaced_and_what_kills_twice_is_an_error(model, photographs, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, size in (("a", (60, 40)), ("kills once", (2, 1)), ("kills", (1, 1)), ("z", (60, 40))):
        Image.new("RGB", size, "red").save(folder / f"{name}.png")
    jobs = jobs_of([str(folder)], str(tmp_path / "out"), Deadly())
    room = tmp_path / "room"
    room.mkdir()
    application = Deadly(memory=str(tmp_path / "killed"))
    outcomes = {jobs[o.index].name: o for o in run(lambda: Session(model), application, list(enumerate(jobs)), room)}
    assert {name: bool(outcome.error) for name, outcome in outcomes.items()} == {
        "a.png": False, "kills once.png": False, "kills.png": True, "z.png": False,
    }  # fmt: skip
    assert "died, twice" in outcomes["kills.png"].error
    assert set(masks_of(tmp_path / "out")) == {"a.png", "kills once.png", "z.png"}
    assert list(room.iterdir()) == []


def test_workers_that_all_die_are_no_endless_loop(model, tmp_path):
    for index in range(9):
        Image.new("RGB", (1, 1)).save(tmp_path / f"{index}.png")
    jobs = list(enumerate(jobs_of([str(tmp_path)], str(tmp_path / "out"), Deadly())))
    with pytest.raises(U2ZooError, match="died one after the other"):
        list(run(lambda: Session(model), Deadly(), jobs, tmp_path))


def started(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "u2net_zoo", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_at_any_moment_it_can_go_on_and_every_file_is_whole(stop, model, photographs, expected, tmp_path):
    command = ["mask", photographs, "-o", tmp_path, "--model", model, "--workers", "2"]
    process = started(*command)
    wait_for(lambda: (tmp_path / ROOM / "finished.jsonl").exists() or process.poll() is not None)
    wait_for(lambda: len(psutil.Process(process.pid).children(recursive=True)) > 1)
    workers = psutil.Process(process.pid).children(recursive=True)
    wait_for(lambda: len(list(tmp_path.glob("*.png"))) >= 3 or process.poll() is not None)
    process.send_signal(stop)
    said = process.communicate(timeout=60)[1]
    wait_for(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
    if stop is signal.SIGINT:
        assert (process.returncode, said) == (130, "error: interrupted; nothing unfinished was kept\n")
    assert stop is signal.SIGKILL or not list(tmp_path.rglob("*.partial"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    assert 3 <= len(before) < COUNT
    for name, mask in masks_of(tmp_path).items():
        np.testing.assert_array_equal(mask, expected[name])

    again = called(*command, "--resume")
    assert again.returncode == 0, again.stderr
    finished = int(again.stdout.split(" of 60 were finished before")[0])
    assert sum(path.stat().st_mtime_ns == time for path, time in before.items()) >= finished >= len(before) - 2
    assert_same(masks_of(tmp_path), expected)
    assert not list(tmp_path.rglob("*.partial"))


def test_resuming_does_anew_what_changed_and_refuses_other_options(model, photographs, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("00.jpg", "01.jpg", "02.jpg"):
        (folder / name).write_bytes((photographs / name).read_bytes())
    command = ["mask", folder, "-o", out, "--model", model, "--resume"]
    assert len(called(*command).stdout.splitlines()) == 3
    (folder / "00.jpg").write_bytes((photographs / "30.jpg").read_bytes())
    (out / "01.png").unlink()
    (folder / "03.jpg").write_bytes((photographs / "31.jpg").read_bytes())
    lines = called(*command).stdout.splitlines()
    assert lines[0] == "1 of 4 were finished before"
    assert sorted(line.split()[0] for line in lines[1:]) == [str(out / name) for name in ("00.png", "01.png", "03.png")]
    other = called(*command, "--profile", "rembg")
    assert (other.returncode, other.stdout) == (2, "")
    assert "had profile None, this one has 'rembg'; ask for the same, or leave out --resume" in other.stderr


def test_a_journal_that_was_cut_short_is_read_up_to_there(photographs, tmp_path):
    job = jobs_of([str(photographs)], str(tmp_path), Mask())[0]
    with journal(tmp_path, {"a": 1}, resume=True):
        pass
    with (tmp_path / ROOM / "finished.jsonl").open("a") as file:
        file.write('{"photograph": "ha')
    with journal(tmp_path, {"a": 1}, resume=True) as book:
        assert book.outcome(0, job) is None
    assert (tmp_path / ROOM / "finished.jsonl").read_text() == '{"a": 1}\n'
    with pytest.raises(OptionError, match="had a 1, this one has 2"), journal(tmp_path, {"a": 2}, resume=True):
        pass


def test_two_runs_into_one_folder_are_refused(tmp_path):
    with (
        journal(tmp_path, {}, resume=False),
        pytest.raises(OutputError, match="another run is writing there"),
        journal(tmp_path, {}, resume=False),
    ):
        pass
