"""The Torch engine: overfitting, several processes, validation, teachers, and data or weights that go wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import SEARCHED
from support.training import BY_HEART, OVERFIT, QUICKLY, SIDE, STAGES, TINY, Losses, first_batch, learned, trainer

from u2net_zoo.arch import two_level
from u2net_zoo.errors import OptionError, TrainingError
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import build
from u2net_zoo.train import pairs
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.run import Request, train
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh
from u2net_zoo.train.torch_loop import Trainer


def test_eight_photographs_are_learned_by_heart(eight, taught):
    losses, weights = taught
    assert len(losses) == QUICKLY["steps"]
    assert losses[-1] < losses[0] / 8  # measured 2026-11-26: 9.3 times less
    assert learned(weights, eight, 32) > 0.9  # measured 2026-11-26: 0.928


@pytest.mark.full
@pytest.mark.parametrize("photographs", ["eight", "published_eight"])
def test_two_hundred_steps_overfit_eight_photographs(photographs, tmp_path, request):
    photographs, seen = request.getfixturevalue(photographs), Losses()
    trainer(photographs, tmp_path, fresh(OVERFIT, 0), seen, **BY_HEART).fit()
    assert len(seen.values) == 200
    # Measured 2026-11-26 on scikit-image's: 24.5 times less, IoU 0.970.
    assert seen.values[-1] < seen.values[0] / 10
    assert learned(tmp_path / "model.safetensors", photographs, SIDE) > 0.9


@pytest.mark.full
def test_two_processes_give_the_first_steps_gradients_of_one_with_the_whole_batch(eight, tmp_path):
    script = Path(__file__).parents[1] / "support" / "two_processes.py"
    command = [sys.executable, str(script), str(eight), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SEARCHED}
    for devices in ("1", "2"):
        done = subprocess.run([*command, devices], env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (np.load(tmp_path / f"{devices}.npz") for devices in (1, 2))
    assert len(one.files) > 300
    for key in one.files:
        if not key.endswith("conv_s1.bias"):  # batch norm takes a bias out again: its gradient is rounding alone
            assert np.linalg.norm(one[key] - two[key]) < 1e-5 * np.linalg.norm(one[key]), key


def test_validation_keeps_the_best_weights_and_stops_when_they_get_no_better(eight, tmp_path):
    run = trainer(eight, tmp_path, steps=400, batch=8, rate=1e-12, patience=3)
    outcome = run.fit()
    assert outcome.stopped == "early stopping"
    assert outcome.steps < 400
    assert outcome.best == pytest.approx(4.9, abs=0.4)
    assert read_checkpoint(tmp_path / "model.safetensors").arch == TINY


def test_the_running_average_keeps_the_share_that_the_recipe_names(eight, tmp_path):
    """It begins with the weights after the first step; 0.9 keeps nine tenths of it at every further one."""
    run = trainer(eight, tmp_path, batch=2, rate=1e-2, ema=0.9)
    key, average = "stage1.rebnconvin.conv_s1.weight", None
    for batch in run._batches(run.train_samples, 0, 0):
        run.train_step(batch)
        now = run.core.state_dict()[key].clone()
        average = now if average is None else 0.9 * average + 0.1 * now
    assert run.step == 4
    assert np.abs(now - average).mean() > 1e-3
    np.testing.assert_allclose(run.weights().state[key], average, rtol=0, atol=1e-6)


@pytest.mark.full
def test_a_teacher_without_masks_teaches(eight, tmp_path):
    found = pairs.find(eight / "images", None)
    seen = Losses()
    setting = Setting(tmp_path, accelerator="cpu", logs=False, watcher=seen)
    teacher = fresh(TINY, 7)
    recipe = Recipe(steps=25, batch=8, size=SIDE, crop=SIDE, augment="none", rate=3e-3)
    run = Trainer(recipe, setting, fresh(TINY, 0), found, [], teacher)
    entropy = float(run.loss_of(build(teacher).logits(first_batch(run).image), first_batch(run)).detach())
    run.fit()
    assert seen.values[0] - entropy > 1.5 * (seen.values[-1] - entropy)


def test_mixed_precision_takes_a_step_close_to_the_full_one(eight, tmp_path):
    values = []
    for number, precision in enumerate(("32-true", "bf16-mixed")):
        run = trainer(eight, tmp_path / str(number), precision=precision, steps=1)
        values.append(run.train_step(first_batch(run)))
    assert values[0] != values[1]
    assert values[1] == pytest.approx(values[0], rel=0.02)


def test_a_corrupt_photograph_is_skipped_named_and_counted(eight, tmp_path):
    shutil.copytree(eight, tmp_path / "data")
    broken = tmp_path / "data" / "images" / "coffee.png"
    broken.write_bytes(broken.read_bytes()[:200])
    seen = Losses()
    outcome = trainer(tmp_path / "data", tmp_path / "out", watcher=seen, steps=4).fit()
    assert outcome.steps == 4
    assert set(outcome.skipped) == {str(broken)}
    assert outcome.skipped[str(broken)] >= 2  # once an epoch
    assert seen.skips[0] == (str(broken), 1)


def test_weights_that_explode_are_reported_not_saved(eight, tmp_path):
    run = trainer(eight, tmp_path, steps=9, rate=1.0)
    with torch.no_grad():
        run.core.outconv.weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match="at step 1; training stopped, there is no snapshot yet"):
        run.fit()
    assert not list(tmp_path.glob("*.safetensors"))


class Overflow(Losses):
    """Turns a weight into infinity after the third step, as an overflow does."""

    def step(self, step, loss):
        super().step(step, loss)
        if step == 3:
            with torch.no_grad():
                self.run_.core.outconv.weight.fill_(float("inf"))


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(eight, tmp_path):
    seen = Overflow()
    run = seen.run_ = trainer(eight, tmp_path, watcher=seen, steps=9, save_every=1)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step 4; .*step-0000003\.pt"):
        run.fit()
    assert len(seen.values) == 3


def test_what_cannot_be_trained_or_taught_is_refused(eight, tmp_path):
    with pytest.raises(OptionError, match="4 output channels"):
        trainer(eight, tmp_path, fresh(two_level("c", *STAGES, out_ch=4, final="none"), 0))
    for teacher, says in (
        (fresh(two_level("c", *STAGES, out_ch=4, final="none"), 0), "answers 4 classes; allowed: masks"),
        (fresh(two_level("six", *STAGES, fused=False), 0), "six has 6 outputs, tiny 7; allowed: equally many"),
    ):
        request = Request(eight / "images", start=fresh(TINY, 0), teacher=teacher)
        with pytest.raises(OptionError, match=says):
            train(request, Recipe(steps=1), Setting(tmp_path))
