"""What a run draws of itself: its losses, and the masks of the validation pictures."""

import csv

import numpy as np
import pytest
from PIL import Image
from support.training import SHALLOW, SIDE, trainer

from u2net_zoo.train import pairs, snapshots
from u2net_zoo.train.augment import Augment
from u2net_zoo.train.loss_record import LossRecord
from u2net_zoo.train.mask_sheet import GAP, first_samples, write_sheet
from u2net_zoo.train.mask_sheet import SIDE as TILE
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.samples import Samples
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh
from u2net_zoo.train.torch_loop import Trainer


def rows(folder):
    with (folder / "losses.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(eight, out, steps):
    found = pairs.find(eight / "images", eight / "masks")
    recipe = Recipe(batch=4, size=SIDE, crop=SIDE, augment="none", steps=steps)
    return Trainer(recipe, Setting(out, accelerator="cpu"), fresh(SHALLOW, 0), found, found[:2])


def test_a_run_leaves_its_losses_as_table_and_chart_and_a_sheet_for_each_epoch(eight, tmp_path):
    outcome = run(eight, tmp_path, 4).fit()
    table = rows(tmp_path)
    assert [row["step"] for row in table] == ["1", "2", "3", "4"]
    assert float(table[-1]["loss"]) == pytest.approx(outcome.loss, rel=1e-5)
    assert [bool(row["validation"]) for row in table] == [False, True, False, True]
    assert min(float(row["validation"]) for row in table if row["validation"]) == pytest.approx(outcome.best, rel=1e-5)
    assert Image.open(tmp_path / "losses.png").size == (840, 480)
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert [path.name for path in sheets] == ["epoch-0001.png", "epoch-0002.png"]
    assert Image.open(sheets[0]).size == (3 * TILE + 2 * GAP, 2 * TILE + GAP)


def test_a_resumed_run_goes_on_with_its_table_and_forgets_what_came_after_the_snapshot(eight, tmp_path):
    run(eight, tmp_path, 4).fit()
    before = rows(tmp_path)
    again = run(eight, tmp_path, 3)
    again.restore(snapshots.load(tmp_path / "step-0000002.pt"))
    again.fit()
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert rows(tmp_path)[:2] == before[:2]


def test_a_damaged_table_is_begun_anew(tmp_path):
    (tmp_path / "losses.csv").write_text("step,loss\n1,0.5,x\nnone\n", encoding="utf-8")
    record = LossRecord(tmp_path, done=3)
    record.step(4, 0.25)
    record.write()
    assert rows(tmp_path) == [{"step": "4", "loss": "0.25", "validation": ""}]


def test_a_sheet_shows_photograph_mask_and_answer_in_this_order(eight, tmp_path):
    found = pairs.find(eight / "images", eight / "masks")[:1]
    samples = first_samples(Samples(found, Augment(Recipe(size=SIDE, crop=SIDE), training=False)))
    write_sheet(tmp_path, 7, Recipe(), samples, np.full((1, 1, SIDE, SIDE), 9.0))
    sheet = np.asarray(Image.open(tmp_path / "sheets" / "epoch-0007.png"), float)
    photograph, mask, answer = (sheet[:, x : x + TILE] for x in range(0, sheet.shape[1], TILE + GAP))
    original = Image.open(found[0].image).convert("RGB").resize((TILE, TILE), Image.Resampling.BILINEAR)
    assert np.corrcoef(photograph.ravel(), np.asarray(original, float).ravel())[0, 1] > 0.95
    truth = Image.open(found[0].mask).resize((TILE, TILE), Image.Resampling.BILINEAR)
    assert np.corrcoef(mask[..., 0].ravel(), np.asarray(truth, float).ravel())[0, 1] > 0.95
    assert answer.min() == 255


def test_a_run_without_logs_draws_nothing(eight, tmp_path):
    trainer(eight, tmp_path, fresh(SHALLOW, 0), steps=2).fit()
    assert not (tmp_path / "losses.csv").exists()
    assert not (tmp_path / "sheets").exists()
