"""The Torch engine: the authors' loss, overfitting, resuming bit for bit, several processes, and what goes wrong."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import DATA, SMALL, needs, u2zoo
from PIL import Image

from u2net_zoo.arch import BN_EPS, U2NET_NANO, two_level
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, InputError, OptionError, OutputError, TrainingError
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import build, state_of
from u2net_zoo.train import pairs, snapshots
from u2net_zoo.train.losses import deep_bce, distillation
from u2net_zoo.train.norms import balance, calibrate, prepare
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh, lacks_statistics, with_norms
from u2net_zoo.train.torch_loop import Trainer

TINY = two_level(
    "tiny", [(k, 2, 4) for k in ("7", "6", "5", "4", "4F", "4F")], [(k, 2, 4) for k in ("4F", "4", "5", "6", "7")]
)
# Three stages: at this size the deeper ones have nothing left to see.
OVERFIT = two_level("overfit", [("4", 8, 16), ("4F", 8, 16), ("4F", 8, 16)], [("4F", 8, 16), ("4", 8, 16)])
SIDE = 64
EIGHT = {  # photographs whose masks the coarsest side output, too, can follow at this size
    "sod": ("im_27", "sailboat3"),
    "human": (
        "480112-637286191695715805-16x9",
        "julia+trotti_17",
        "download",
        "19035828_web1__12294096_web1_180615-PNR-newmayorchallenge",
        "images (1)",
        "images",
    ),
}


class Losses:
    """A watcher that keeps every loss."""

    def __init__(self):
        self.values, self.skips = [], []

    def run(self, total, done):
        return contextlib.nullcontext()

    def step(self, step, loss):
        self.values.append(loss)

    def validated(self, step, loss, better):
        pass

    def skipped(self, name, reason, times):
        self.skips.append((name, times))


@pytest.fixture(scope="session")
def eight(tmp_path_factory) -> Path:
    """Eight real photographs and their published masks, cut to black and white, small."""
    folder = tmp_path_factory.mktemp("eight")
    for part, names in EIGHT.items():
        photographs = pairs.listing(needs(DATA / part / "images"))
        masks = pairs.listing(needs(DATA / part / ("u2net" if part == "sod" else "u2net_human_seg")))
        for name in names:
            _save(Image.open(photographs[name]).convert("RGB"), folder / "images" / f"{name}.png")
            _save(
                Image.open(masks[name]).convert("L").point(lambda v: 255 * (v > 127)), folder / "masks" / f"{name}.png"
            )
    return folder


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    picture.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(path)


def trainer(eight: Path, out: Path, start: Checkpoint | None = None, watcher=None, save_every=500, **recipe) -> Trainer:
    values = {"batch": 4, "size": SIDE, "crop": SIDE, "augment": "none", "seed": 1, **recipe}
    setting = Setting(out, accelerator="cpu", logs=False, save_every=save_every, watcher=watcher or Losses())
    found = pairs.find(eight / "images", eight / "masks")
    return Trainer(Recipe(**values), setting, start or fresh(TINY, 0), found, found[:2])


def test_the_loss_is_the_sum_of_the_seven_mean_cross_entropies():
    rng = np.random.default_rng(0)
    logits = [torch.from_numpy(rng.normal(0, 2, (2, 1, 5, 7))) for _ in range(7)]
    mask = torch.from_numpy((rng.random((2, 1, 5, 7)) > 0.5).astype(float))
    by_hand = sum(
        -(mask * torch.log(torch.sigmoid(d)) + (1 - mask) * torch.log(1 - torch.sigmoid(d))).mean() for d in logits
    )
    assert float(deep_bce(logits, mask.float())) == pytest.approx(float(by_hand), rel=1e-6)
    assert float(deep_bce([torch.zeros(1, 1, 2, 2)] * 7, torch.ones(1, 1, 2, 2))) == pytest.approx(7 * np.log(2))


def test_distillation_is_smallest_at_the_teachers_own_answer():
    logits = [torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(7)]
    teacher = [torch.sigmoid(d) for d in logits]
    entropy = sum(-(t * t.log() + (1 - t) * (1 - t).log()).mean() for t in teacher)
    assert float(distillation(logits, teacher)) == pytest.approx(float(entropy), rel=1e-5)
    assert float(distillation([d + 0.3 for d in logits], teacher)) > float(entropy)


def test_fresh_weights_are_torchs_own_distribution_and_follow_from_the_seed():
    state, again = fresh(U2NET_NANO, 3).state, fresh(U2NET_NANO, 3).state
    kernel = state["stage1.rebnconvin.conv_s1.weight"]
    assert abs(kernel).max() <= 27**-0.5
    assert kernel.std() == pytest.approx(27**-0.5 / 3**0.5, rel=0.1)
    assert all(np.array_equal(value, again[key]) for key, value in state.items())
    assert not np.array_equal(kernel, fresh(U2NET_NANO, 4).state["stage1.rebnconvin.conv_s1.weight"])


def test_two_hundred_steps_overfit_eight_photographs(eight, tmp_path):
    seen = Losses()
    start = fresh(OVERFIT, 0)
    trainer(eight, tmp_path, start, seen, steps=200, batch=8, rate=1e-2, schedule="cosine").fit()
    assert len(seen.values) == 200
    assert seen.values[-1] < seen.values[0] / 10


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


def test_a_killed_command_resumes_to_the_same_weights(eight, tmp_path):
    options = ["--images", eight / "images", "--masks", eight / "masks", "--arch", "u2net_nano", "--steps", "6"]
    options += ["--batch", "4", "--size", "64", "--crop", "64", "--save-every", "1", "--workers", "0", "--seed", "3"]
    options += ["--accelerator", "cpu", "--ema", "0.9"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = u2zoo("train", *options, "--out", tmp_path / "whole", "--json", env=one_thread)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 6
    command = [sys.executable, "-m", "u2net_zoo", "train", *map(str, options), "--out", str(tmp_path / "cut")]
    with subprocess.Popen(command, env=one_thread, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait_for(tmp_path / "cut" / "step-0000002.pt", process)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "cut" / "step-0000006.pt").exists()
    refused = u2zoo("train", *options, "--out", tmp_path / "cut")
    assert refused.returncode == 2
    assert "holds an earlier run" in refused.stderr
    data = options[:4]
    resumed = u2zoo(
        "train", *data, "--arch", "u2net_nano", "--resume", tmp_path / "cut", "--out", tmp_path / "cut",
        "--workers", "0", "--accelerator", "cpu", env=one_thread,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    whole, cut = (read_checkpoint(tmp_path / name / "model.safetensors").state for name in ("whole", "cut"))
    assert all(np.array_equal(whole[key], cut[key]) for key in whole)


def _wait_for(path: Path, process: subprocess.Popen) -> None:
    limit = time.time() + 120
    while not path.exists() and process.poll() is None and time.time() < limit:
        time.sleep(0.02)
    assert path.exists()


def _same(a: Trainer, b: Trainer) -> bool:
    ours, theirs = a.weights().state, b.weights().state
    return set(ours) == set(theirs) and all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_two_processes_give_the_first_steps_gradients_of_one_with_the_whole_batch(eight, tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, str(script), str(eight), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    for devices in ("1", "2"):
        done = subprocess.run([*command, devices], env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (np.load(tmp_path / f"{devices}.npz") for devices in (1, 2))
    assert len(one.files) > 300
    for key in one.files:
        if not key.endswith("conv_s1.bias"):  # batch norm takes a bias out again: its gradient is rounding alone
            assert np.linalg.norm(one[key] - two[key]) < 1e-2 * np.linalg.norm(one[key]), key


def test_validation_keeps_the_best_weights_and_stops_when_they_get_no_better(eight, tmp_path):
    run = trainer(eight, tmp_path, steps=400, batch=8, rate=1e-12, patience=3)
    outcome = run.fit()
    assert outcome.stopped == "early stopping"
    assert outcome.steps < 400
    assert outcome.best == pytest.approx(4.9, abs=0.4)
    assert read_checkpoint(tmp_path / "model.safetensors").arch == TINY


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(eight, tmp_path):
    run = trainer(eight, tmp_path, steps=9, save_every=1)
    healthy = run.loss_of
    run.loss_of = lambda *a: healthy(*a) * (float("nan") if run.step == 3 else 1)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 4; .*step-0000003\.pt"):
        run.fit()


def test_weights_that_explode_are_reported_not_saved(eight, tmp_path):
    run = trainer(eight, tmp_path, steps=9, rate=1.0)
    with torch.no_grad():
        run.core.outconv.weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match="at step 1; training stopped, there is no snapshot yet"):
        run.fit()
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_full_disk_keeps_the_previous_snapshot(eight, tmp_path, monkeypatch):
    run = trainer(eight, tmp_path, steps=6, save_every=2)
    save = torch.save

    def full_after_first(content, path):
        if content["step"] > 2:
            Path(path).write_bytes(b"half a file")
            raise OSError(28, "No space left on device", str(path))
        save(content, path)

    monkeypatch.setattr(torch, "save", full_after_first)
    with pytest.raises(OutputError, match="No space left on device"):
        run.fit()
    assert [path.name for path in tmp_path.iterdir()] in (["step-0000002.pt"], ["model.safetensors", "step-0000002.pt"])
    monkeypatch.undo()
    again = trainer(eight, tmp_path / "on", steps=6)
    again.restore(snapshots.load(tmp_path / "step-0000002.pt"))
    assert again.fit().steps == 6


def test_a_corrupt_photograph_is_skipped_named_and_counted(eight, tmp_path):
    shutil.copytree(eight, tmp_path / "data")
    broken = tmp_path / "data" / "images" / "im_27.png"
    broken.write_bytes(broken.read_bytes()[:200])
    seen = Losses()
    outcome = trainer(tmp_path / "data", tmp_path / "out", watcher=seen, steps=4).fit()
    assert outcome.steps == 4
    assert set(outcome.skipped) == {str(broken)}
    assert outcome.skipped[str(broken)] >= 2  # once an epoch
    assert seen.skips[0] == (str(broken), 1)


def test_finetuning_folded_weights_keeps_their_function_and_gives_them_live_norms(eight, tmp_path, real_weights):
    start = read_checkpoint(real_weights)
    assert lacks_statistics(start)
    assert not lacks_statistics(fresh(TINY, 0))
    samples = trainer(eight, tmp_path, steps=1).train_samples
    run = trainer(eight, tmp_path, prepare(start, samples, Recipe(batch=4, size=SIDE, crop=SIDE)), steps=1)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = build(start)(x)[0], run.core.eval()(x)[0]
        trained = run.core.train()(x.repeat(4, 1, 1, 1) + 0.1 * torch.randn(4, 3, 64, 64))[0]
    assert abs(before - after).max() < 2e-3
    assert torch.isfinite(trained).all()
    assert not lacks_statistics(state_of(run.core))


def test_calibration_and_balance_change_no_answer(small):
    folded = with_norms(small.fold())
    assert folded.state["stage1.rebnconvin.bn_s1.running_var"][0] == pytest.approx(1 - BN_EPS)
    model = build(folded, dtype=torch.float64)
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(x)
        calibrate(model, [x])
        balance(model)
        assert max(float(abs(a - b).max()) for a, b in zip(before, model(x), strict=True)) < 1e-6
        norm = model.stage1.rebnconvin.bn_s1
        inputs = model.stage1.rebnconvin.conv_s1(x)
    assert torch.allclose(inputs.mean((0, 2, 3)), norm.running_mean, atol=1e-6)
    assert torch.allclose(inputs.var((0, 2, 3), unbiased=False), norm.running_var, rtol=1e-3)


def test_a_teacher_without_masks_teaches(eight, tmp_path):
    found = pairs.find(eight / "images", None)
    seen = Losses()
    setting = Setting(tmp_path, accelerator="cpu", logs=False, watcher=seen)
    teacher = fresh(TINY, 7)
    recipe = Recipe(steps=25, batch=8, size=SIDE, crop=SIDE, augment="none", rate=3e-3)
    run = Trainer(recipe, setting, fresh(TINY, 0), found, [], teacher)
    entropy = float(run.loss_of(build(teacher).logits(_batch(run).image), _batch(run)).detach())
    run.fit()
    assert seen.values[0] - entropy > 1.5 * (seen.values[-1] - entropy)


def _batch(run: Trainer):
    return next(run._batches(run.train_samples, 0, 0))


def test_mixed_precision_takes_a_step_close_to_the_full_one(eight, tmp_path):
    values = []
    for number, precision in enumerate(("32-true", "bf16-mixed")):
        run = trainer(eight, tmp_path / str(number), precision=precision, steps=1)
        values.append(run.train_step(_batch(run)))
    assert values[0] != values[1]
    assert values[1] == pytest.approx(values[0], rel=0.02)


def test_what_cannot_be_trained_or_resumed_is_refused(eight, tmp_path):
    with pytest.raises(OptionError, match="4 output channels"):
        trainer(eight, tmp_path, fresh(two_level("c", *_stages(), out_ch=4, final="none"), 0))
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


def _stages():
    return [(k, 2, 4) for k in ("7", "6", "5", "4", "4F", "4F")], [(k, 2, 4) for k in ("4F", "4", "5", "6", "7")]


def test_the_commands_bad_requests_end_in_one_line(eight, tmp_path):
    images = ("train", "--images", eight / "images", "--out", tmp_path / "x")
    for arguments, says in (
        (images, "no masks and no teacher"),
        ((*images, "--masks", eight / "none"), "no such folder"),
        ((*images, "--masks", eight / "masks", "--arch", "u2nett"), "did you mean 'u2net'"),
    ):
        done = u2zoo(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert says in done.stderr
        assert "Traceback" not in done.stderr
