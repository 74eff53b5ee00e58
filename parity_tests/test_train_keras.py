"""The Keras engine beside the Torch one: the same pictures, losses, gradients and steps."""

import json

import numpy as np
import pytest
import torch
from conftest import SMALL, hard_checkpoint, u2zoo
from test_train_torch import OVERFIT, SIDE, Losses, eight, trainer  # noqa: F401 - a fixture

from u2net_zoo.arch import two_level
from u2net_zoo.errors import OptionError, TrainingError
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.train import keras_loop, pairs
from u2net_zoo.train.augment import Augment
from u2net_zoo.train.keras_data import Counted, dataset
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.start import fresh
from u2net_zoo.weight_map import rows

# Three stages only: TensorFlow takes long to trace the whole network for `fit`.
SHALLOW = two_level("shallow", [("4", 4, 8), ("4F", 4, 8), ("4F", 4, 8)], [("4F", 4, 8), ("4", 4, 8)])
RECIPE = Recipe(steps=3, batch=4, size=SIDE, crop=SIDE, augment="none", seed=1)


@pytest.fixture(scope="module")
def keras_run(eight):  # noqa: F811
    """A compiled model from the same fresh weights as `torch_run`, and the first batches."""
    found = pairs.find(eight / "images", eight / "masks")
    samples = Counted(found, Augment(RECIPE))
    batches = list(dataset(samples, RECIPE, SIDE, steps=3, outputs=7))
    return keras_loop.compile_model(hard_checkpoint(SMALL), RECIPE), batches


@pytest.fixture
def torch_run(eight, tmp_path):  # noqa: F811
    return trainer(eight, tmp_path, hard_checkpoint(SMALL), steps=3)


def test_both_engines_are_fed_the_same_batches(keras_run, torch_run):
    theirs = list(torch_run._batches(torch_run.train_samples, 0, 0))
    for (image, masks), batch in zip(keras_run[1], theirs, strict=False):
        assert np.array_equal(image.numpy().transpose(0, 3, 1, 2), batch.image.numpy())
        assert len(masks) == 7
        assert all(np.array_equal(mask.numpy().transpose(0, 3, 1, 2), batch.mask.numpy()) for mask in masks)


def test_the_first_steps_loss_and_gradients_are_torchs(keras_run, torch_run):
    import tensorflow as tf

    model, batches = keras_run
    image, masks = batches[0]
    with tf.GradientTape() as tape:
        logits = model(image, training=True)
        loss = tf.add_n([tf.reduce_mean(model.loss[0](m, d)) for m, d in zip(masks, logits, strict=True)])
    variables = {row.key: getattr(model.get_layer(row.layer), row.variable) for row in rows(SMALL)}
    gradients = tape.gradient(loss, [variables[key].value for key, _ in torch_run.core.named_parameters()])
    value = torch_run.backward(next(iter(torch_run._batches(torch_run.train_samples, 0, 0))))
    assert float(loss) == pytest.approx(value, rel=1e-5)
    by_key = {row.key: row for row in rows(SMALL)}
    ours, theirs = {}, {}
    for (key, parameter), gradient in zip(torch_run.core.named_parameters(), gradients, strict=True):
        if not key.endswith("conv_s1.bias"):  # batch norm takes a bias out again: its gradient is rounding alone
            ours[key], theirs[key] = by_key[key].backward(gradient.numpy()), parameter.grad.numpy()
    # float32 rounding turns a few ReLUs and poolings the other way, so single tensors differ by some percent.
    apart = {key: float(np.linalg.norm(ours[key] - theirs[key]) / np.linalg.norm(theirs[key])) for key in ours}
    assert max(apart.values()) < 0.1, max(apart, key=apart.get)
    assert np.median(list(apart.values())) < 1e-2
    a, b = (np.concatenate([grads[key].ravel() for key in ours]) for grads in (ours, theirs))
    assert a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) > 0.9999
    assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-2)


def test_three_steps_of_fit_follow_torchs(eight, tmp_path):  # noqa: F811
    found = pairs.find(eight / "images", eight / "masks")
    torch_run = trainer(eight, tmp_path, hard_checkpoint(SHALLOW), steps=3)
    torch_losses = [torch_run.train_step(batch) for batch in _stream(torch_run, 3)]
    outcome = keras_loop.fit(RECIPE, tmp_path / "keras", hard_checkpoint(SHALLOW), found, [])
    assert outcome.steps == 3
    # Keras tells the mean over the epoch; the third step is the first of the second epoch of two.
    assert outcome.loss == pytest.approx(torch_losses[2], rel=1e-2)
    ours, theirs = read_checkpoint(tmp_path / "keras" / "model.safetensors"), torch_run.weights()
    moved = hard_checkpoint(SHALLOW).state
    key = "stage1.rebnconvin.conv_s1.weight"
    assert abs(ours.state[key] - theirs.state[key]).mean() < 0.2 * abs(ours.state[key] - moved[key]).mean()


def _stream(run, steps):
    while True:
        for batch in run._batches(run.train_samples, run.step // run.per_epoch, 0):
            if run.step >= steps:
                return
            yield batch


def test_a_keras_run_overfits_the_same_eight_photographs(eight, tmp_path):  # noqa: F811
    found = pairs.find(eight / "images", eight / "masks")
    recipe = Recipe(steps=200, batch=8, size=SIDE, crop=SIDE, augment="none", rate=1e-2, schedule="cosine", seed=1)
    seen = Losses()
    keras_loop.fit(recipe, tmp_path, fresh(OVERFIT, 0), found, [], watcher=seen)
    assert len(seen.values) == 200
    assert seen.values[-1] < seen.values[0] / 10


def test_validation_stops_early_and_a_teacher_needs_no_masks(eight, tmp_path):  # noqa: F811
    found = pairs.find(eight / "images", None)
    recipe = Recipe(epochs=30, batch=8, size=SIDE, crop=SIDE, augment="none", rate=1e-12, patience=2, ema=0.9)
    outcome = keras_loop.fit(recipe, tmp_path, fresh(SHALLOW, 0), found, found[:2], fresh(SHALLOW, 5))
    assert outcome.stopped == "early stopping"
    assert 3 <= outcome.steps < 30
    assert outcome.best is not None
    assert (tmp_path / "model.safetensors").exists()


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(eight, tmp_path):  # noqa: F811
    found = pairs.find(eight / "images", eight / "masks")
    start = fresh(SHALLOW, 0)
    start.state["outconv.weight"][:] = np.float32(3e38)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step 1; training stopped"):
        keras_loop.fit(RECIPE, tmp_path, start, found, [])


def test_what_keras_cannot_honour_is_refused():
    start = fresh(SMALL, 0)
    with pytest.raises(OptionError, match="precision 'bf16-mixed' with Keras"):
        keras_loop.compile_model(start, Recipe(precision="bf16-mixed"))
    with pytest.raises(OptionError, match="side 100 with Keras; allowed: multiples of 32"):
        keras_loop.compile_model(start, Recipe(crop=100))


def test_the_command_trains_with_keras(eight, tmp_path):  # noqa: F811
    done = u2zoo(
        "train", "--images", eight / "images", "--masks", eight / "masks", "--arch", "u2net_nano", "--engine", "keras",
        "--steps", "1", "--batch", "2", "--size", "64", "--crop", "64", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 1
    assert read_checkpoint(tmp_path / "model.safetensors").arch.name == "u2net_nano"
    assert torch.isfinite(
        torch.from_numpy(read_checkpoint(tmp_path / "model.safetensors").state["outconv.weight"])
    ).all()
