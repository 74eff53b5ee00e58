"""Interrupted runs: resumed bit for bit, a full disk, and requests that make no sense."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.commands import called
from support.networks import SMALL
from support.training import TINY, Losses, trainer

from converters import Options
from u2net_zoo.cli.train import _weights
from u2net_zoo.errors import CheckpointError, InputError, OutputError
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.train import snapshots
from u2net_zoo.train.start import fresh
from u2net_zoo.train.storing import write_weights
from u2net_zoo.train.torch_loop import Trainer

FULL = {"steps": 7, "ema": 0.9, "clip": 1.0, "schedule": "cosine", "augment": "strong", "patience": 50}


def test_a_run_resumed_from_any_snapshot_ends_where_the_unbroken_one_does_bit_for_bit(eight, tmp_path):
    whole = trainer(eight, tmp_path / "whole", save_every=3, **FULL)
    outcome = whole.fit()
    assert outcome.steps == 7
    found = sorted((tmp_path / "whole").glob("step-*.pt"))
    assert len(found) == 3
    for number, snapshot in enumerate(found):
        again = trainer(eight, tmp_path / str(number), **FULL)
        again.restore(snapshots.load(snapshot))
        again.fit()
        assert _same(whole, again)


def _same(a: Trainer, b: Trainer) -> bool:
    ours, theirs = a.weights().state, b.weights().state
    return set(ours) == set(theirs) and all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_a_resumed_run_has_as_much_patience_left_as_the_unbroken_one(eight, tmp_path):
    settings = {"steps": 400, "batch": 8, "rate": 1e-12, "patience": 3, "size": 32, "crop": 32}
    whole = trainer(eight, tmp_path / "whole", **settings).fit()
    assert whole.stopped == "early stopping"
    *_, before, _ = sorted((tmp_path / "whole").glob("step-*.pt"))
    again = trainer(eight, tmp_path / "again", **settings)
    again.restore(snapshots.load(before))
    assert again.fit().steps == whole.steps


@pytest.fixture
def one_thread():
    """In this process too: how sums are shared by threads changes their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {**os.environ, "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(before)


def test_a_killed_command_resumes_to_the_same_weights(eight, tmp_path, one_thread):
    options = ["--images", eight / "images", "--masks", eight / "masks", "--steps", "10"]
    write_weights(fresh(TINY, 0), tmp_path / "tiny.safetensors")
    options += ["--finetune", tmp_path / "tiny.safetensors"]
    options += ["--batch", "4", "--size", "64", "--crop", "64", "--save-every", "1", "--workers", "0", "--seed", "3"]
    options += ["--accelerator", "cpu", "--ema", "0.9"]
    done = called("train", *options, "--out", tmp_path / "whole", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 10
    command = [sys.executable, "-m", "u2net_zoo", "train", *map(str, options), "--out", str(tmp_path / "cut")]
    with subprocess.Popen(command, env=one_thread, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait_for_snapshots(tmp_path / "cut", process)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "cut" / "step-0000010.pt").exists()
    refused = called("train", *options, "--out", tmp_path / "cut")
    assert refused.returncode == 2
    assert "holds an earlier run" in refused.stderr
    data = options[:4]
    resumed = called(
        "train",
        *data,
        "--resume",
        tmp_path / "cut",
        "--out",
        tmp_path / "cut",
        "--workers",
        "0",
        "--accelerator",
        "cpu",
    )
    assert resumed.returncode == 0, resumed.stderr
    whole, cut = (read_checkpoint(tmp_path / name / "model.safetensors").state for name in ("whole", "cut"))
    assert all(np.array_equal(whole[key], cut[key]) for key in whole)


def _wait_for_snapshots(folder: Path, process: subprocess.Popen) -> None:
    """Two of them at least; only the newest are kept."""
    limit = time.time() + 300
    while len(list(folder.glob("step-*.pt"))) < 2 and process.poll() is None and time.time() < limit:
        time.sleep(0.02)
    assert len(list(folder.glob("step-*.pt"))) >= 2


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of its own of 4 MB; None where this process may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    yield folder if done.returncode == 0 else None
    if done.returncode == 0:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Filler(Losses):
    """After the third step the disk is full; where there is none to fill, no file may grow beyond 4 kB."""

    def __init__(self, disk):
        super().__init__()
        self.disk = disk

    def step(self, step, loss):
        super().step(step, loss)
        if step == 3 and self.disk is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        elif step == 3:
            free = os.statvfs(self.disk).f_bavail * os.statvfs(self.disk).f_frsize
            (self.disk / "ballast").write_bytes(bytes(free - 20_000))


def test_a_full_disk_keeps_the_previous_snapshot(eight, tmp_path, disk):
    out = (disk or tmp_path) / "run"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = trainer(eight, out, watcher=Filler(disk), steps=6, save_every=2)
    try:
        with pytest.raises(OutputError, match=r"step-0000004\.pt: cannot write there: (No space left|File too large)"):
            run.fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {path.name for path in out.iterdir()} <= {"model.safetensors", "step-0000002.pt"}
    again = trainer(eight, tmp_path / "on", steps=6)
    again.restore(snapshots.load(out / "step-0000002.pt"))
    assert again.fit().steps == 6


def test_weights_do_not_fit_on_a_full_disk_either(tmp_path, disk):
    if disk is None:
        pytest.skip("needs the right to mount a tmpfs")
    (disk / "ballast").write_bytes(bytes((4 << 20) - 8192))
    with pytest.raises(OutputError, match="No space left on device"):
        write_weights(fresh(TINY, 0), disk / "model.safetensors")
    assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_what_cannot_be_resumed_is_refused(eight, tmp_path):
    trainer(eight, tmp_path, steps=1).fit()
    content = snapshots.load(snapshots.latest(tmp_path))
    with pytest.raises(CheckpointError, match="the snapshot is not of small"):
        trainer(eight, tmp_path / "b", fresh(SMALL, 0), steps=1).restore(content)
    with pytest.raises(InputError, match="on 9 photographs, now there are 8"):
        trainer(eight, tmp_path / "c", steps=1).restore({**content, "pairs": 9})
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"bad\.pt: damaged"):
        snapshots.load(tmp_path / "bad.pt")
    with pytest.raises(InputError, match="holds no snapshot"):
        snapshots.latest(eight)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors: damaged"):
        snapshots.load_arrays(tmp_path / "bad.safetensors")
    with pytest.raises(
        InputError, match=r"no snapshot step-\*\.safetensors to resume from; those of --engine torch are"
    ):
        snapshots.latest(tmp_path, "keras")
    with pytest.raises(InputError, match=r"--engine torch reads \.pt"):
        snapshots.latest(snapshots.latest(tmp_path), "keras")


def test_the_commands_bad_requests_end_in_one_line(eight, tmp_path):
    images = ("train", "--images", eight / "images", "--out", tmp_path / "x")
    for arguments, says in (
        (images, "no masks and no teacher"),
        ((*images, "--masks", eight / "none"), "no such folder"),
        ((*images, "--masks", eight / "masks", "--arch", "u2nett"), "did you mean 'u2net'"),
    ):
        done = called(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_a_teacher_and_weights_to_begin_with_are_sources_like_any_other(small_file, made):
    assert _weights(Path("u2net_nano")).arch.name == "u2net_nano"  # a name of the catalog
    assert _weights(small_file).arch == SMALL
    assert _weights(made.one("onnx", Options(size=(64, 64), outputs="all")).path).arch == SMALL
    with pytest.raises(InputError, match="did you mean 'u2net_nano'"):
        _weights(Path("u2net_nan"))
