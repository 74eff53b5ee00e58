"""Training on the native Keras model with `model.fit`, any backend, the same pictures and losses as in Torch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import CheckpointError, OptionError, TrainingError
from ..keras_model import assign, build, load_keras_module, state_of
from . import snapshots
from .augment import Augment
from .class_weights import weights_for
from .keras_data import Counted, Teacher, dataset, teacher_of
from .labels import IGNORED
from .loss_record import LossRecord
from .mask_sheet import first_samples, write_sheet
from .pairs import Pair
from .recipe import Recipe
from .result import Outcome
from .samples import Samples
from .schedule import rate_at, steps_per_epoch, total_steps
from .storing import check_channels, write_weights
from .watch import Silent, Watcher

__all__ = ["compile_model", "fit", "loss_of"]


def compile_model(
    start: Checkpoint,
    recipe: Recipe,
    side: int | None = None,
    total: int = 0,
    class_weights: np.ndarray | None = None,
) -> Any:
    """The training model of a checkpoint for pictures of `side` (`recipe.crop`), compiled by the recipe for `total`
    steps.

    Its outputs are the seven logits: on them binary cross-entropy is stable and equals Torch's. Its layers are those of
    `keras_model.build`, so `keras_model.state_of` reads the trained weights from it.

    Raises:
        OptionError: a setting that the Keras model cannot honour.
    """
    side = side or recipe.crop
    _refuse(start, recipe, side)
    keras = load_keras_module()
    model = build(start.unfold(), size=(side, side))
    logits = [model.get_layer(name).input for name in start.arch.outputs]
    training = keras.Model(model.inputs[0], logits, name=f"{model.name}_logits")
    average = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
    optimizer = keras.optimizers.Adam(
        _rate(keras, recipe, total),
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        global_clipnorm=recipe.clip or None,
        **average,
    )
    losses = [loss_of(recipe, class_weights) for _ in logits]
    # JAX computes op by op unless it compiles; for TensorFlow, compiling takes longer than many a run.
    training.compile(optimizer, loss=losses, jit_compile=keras.backend.backend() == "jax")
    return training


def loss_of(recipe: Recipe, class_weights: np.ndarray | None) -> Any:
    """Of one output; equals Torch's: `losses.deep_bce`, `losses.deep_cross_entropy`."""
    keras = load_keras_module()
    if not recipe.classes:
        return keras.losses.BinaryCrossentropy(from_logits=True)
    ops, weights = keras.ops, np.ones(recipe.out_ch, np.float32) if class_weights is None else class_weights

    def cross_entropy(true: Any, logits: Any) -> Any:
        known = true[..., 0] != IGNORED
        index = ops.cast(ops.where(known, true[..., 0], 0), "int32")
        each = ops.sparse_categorical_crossentropy(index, logits, from_logits=True)
        counts = ops.where(known, ops.take(ops.convert_to_tensor(weights), index), 0.0)
        whole = ops.sum(counts)
        return ops.sum(each * counts) / ops.where(whole > 0, whole, 1.0)

    return cross_entropy


def _rate(keras: Any, recipe: Recipe, total: int) -> Any:
    """The schedule as a part of the optimizer, which every backend evaluates inside its compiled step."""
    if recipe.schedule == "constant" and not recipe.warmup:
        return recipe.rate

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            ops = keras.ops
            return rate_at(recipe, ops.cast(step, "float32"), total, least=ops.minimum, cosine=ops.cos)

        def get_config(self) -> dict[str, Any]:
            return {}

    return Schedule()


def _refuse(start: Checkpoint, recipe: Recipe, side: int) -> None:
    check_channels(start.arch, recipe)
    if recipe.precision != "32-true":
        raise OptionError(
            f"precision {recipe.precision!r} with Keras; allowed: '32-true', its layers are float32 by design"
        )
    if side % start.arch.stride:
        raise OptionError(f"side {side} with Keras; allowed: multiples of {start.arch.stride}")


def fit(
    recipe: Recipe,
    out: Path,
    start: Checkpoint,
    train: list[Pair],
    validation: list[Pair],
    teacher: Checkpoint | None = None,
    watcher: Watcher | None = None,
    resume: Path | None = None,
) -> Outcome:
    """Trains to the end, or until validation stops getting better.

    Args:
        resume: a snapshot of `snapshots.save_arrays`; there is one after every epoch.

    Raises:
        TrainingError, OptionError, OutputError; CheckpointError, InputError: the snapshot is not of this run.
    """
    started = time.time()
    arch = start.arch.unfold()
    total, per_epoch = total_steps(recipe, len(train)), steps_per_epoch(len(train), recipe.batch)
    class_weights = weights_for(recipe, train)
    model = compile_model(start, recipe, total=total, class_weights=class_weights)
    answer = teacher_of(teacher) if teacher else None
    samples = Counted(train, Augment(recipe))
    check = Counted(validation, Augment(recipe, training=False)) if validation else None
    follow = _Follow(recipe, total, out, arch, samples, check, answer, watcher or Silent())
    if resume:
        follow.restore(model, snapshots.load_arrays(resume), resume)
    first = follow.step
    follow.record, follow.class_weights = LossRecord(out, first), class_weights
    with follow.watcher.run(total, first):
        if first < total and not follow.finished:
            model.fit(
                dataset(samples, recipe, recipe.crop, total, len(arch.outputs), answer, first),
                steps_per_epoch=min(per_epoch, total),
                initial_epoch=first // per_epoch,
                epochs=-(-total // per_epoch),
                callbacks=[follow.callback(), *_tensorboard(out)],
                shuffle=False,
                verbose=0,
            )
    return follow.outcome(first, time.time() - started)


class _Follow:
    """What happens around the steps: NaN, validation, early stopping, weights and snapshots on disk."""

    def __init__(
        self,
        recipe: Recipe,
        total: int,
        out: Path,
        arch: Any,
        samples: Counted,
        check: Samples | None,
        teacher: Teacher | None,
        watcher: Watcher,
    ):
        self.recipe, self.total, self.out, self.arch = recipe, total, out, arch
        self.samples, self.check, self.teacher, self.watcher = samples, check, teacher, watcher
        self.step, self.loss, self.best, self.stale = 0, float("nan"), float("inf"), 0
        self.judge: Any = None
        self.class_weights: np.ndarray | None = None
        self.record = LossRecord(out, on=False)

    @property
    def finished(self) -> bool:
        """Whether it is time to stop early."""
        return bool(self.recipe.patience) and self.stale >= self.recipe.patience

    def outcome(self, first: int, seconds: float) -> Outcome:
        """Args:
        first: the step at which the run went on.
        """
        return Outcome(
            steps=self.step,
            loss=self.loss,
            best=self.best if self.check else None,
            stopped="early stopping" if self.finished else "end of schedule",
            weights=str(self.out / "model.safetensors"),
            skipped=dict(self.samples.skipped),
            seconds=round(seconds, 1),
            steps_per_second=round((self.step - first) / max(seconds, 1e-9), 3),
        )

    def callback(self) -> Any:
        follow = self

        class Callback(load_keras_module().callbacks.Callback):  # type: ignore[misc]
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                follow.after_step(batch, float((logs or {})["loss"]))

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                follow.after_epoch(self.model)
                self.model.stop_training = follow.finished

        return Callback()

    def after_step(self, batch: int, mean: float) -> None:
        """`mean`: the loss averaged since the epoch began, which is what Keras tells."""
        self.step += 1
        self.loss = mean
        if not np.isfinite(mean):
            raise TrainingError(
                f"the loss is {mean} at step {self.step}; training stopped. "
                f"Try a lower rate (now {self.recipe.rate:g}) or gradient clipping"
            )
        self.record.step(self.step, mean)
        self.watcher.step(self.step, mean)

    def after_epoch(self, model: Any) -> None:
        with _use_average(model, bool(self.recipe.ema)):
            value = self._validate(model, self.check) if self.check else None
            better = value is None or value < self.best
            if better:
                self._write(model)
        if value is not None:
            self.record.validated(self.step, value)
            self.best, self.stale = (value, 0) if better else (self.best, self.stale + 1)
            self.watcher.validated(self.step, value, better)
        self.record.write()
        if self.step % steps_per_epoch(len(self.samples), self.recipe.batch) == 0:
            self._save(model)

    def _save(self, model: Any) -> None:
        notes = {"recipe": self.recipe.to_dict(), "pairs": len(self.samples), "step": self.step, "stale": self.stale}
        notes |= {"best": self.best, "loss": self.loss, "skipped": self.samples.skipped}
        optimizer = [_numpy(variable) for variable in model.optimizer.variables]
        snapshots.save_arrays(snapshots.Arrays(dict(state_of(model, self.arch).state), optimizer, notes), self.out)

    def restore(self, model: Any, content: snapshots.Arrays, path: Path) -> None:
        """Goes on where a snapshot was taken. Raises InputError, CheckpointError."""
        notes = content.notes
        if notes["pairs"] != len(self.samples):
            raise snapshots.other_data(notes["pairs"], len(self.samples))
        weights, optimizer = Checkpoint.from_state(content.model), model.optimizer
        optimizer.build(model.trainable_variables)
        shapes = [tuple(variable.shape) for variable in optimizer.variables]
        if weights.arch != self.arch or shapes != [value.shape for value in content.optimizer]:
            raise CheckpointError(f"{path}: the snapshot is not of {self.arch.name}")
        assign(model, weights)
        for variable, value in zip(optimizer.variables, content.optimizer, strict=True):
            variable.assign(value)
        self.step, self.best, self.stale, self.loss = (notes[key] for key in ("step", "best", "stale", "loss"))
        self.samples.skipped.update(notes.get("skipped", {}))

    def _validate(self, model: Any, check: Samples) -> float:
        """Mean loss over the validation pairs, on whole photographs of `recipe.size`."""
        if self.judge is None:
            weights = state_of(model, self.arch)
            self.judge = compile_model(weights, self.recipe, self.recipe.size, class_weights=self.class_weights)
        self.judge.set_weights(model.get_weights())
        steps = steps_per_epoch(len(check), self.recipe.batch)
        data = dataset(check, self.recipe, self.recipe.size, steps, len(self.arch.outputs), self.teacher)
        shown = first_samples(check)
        answers = self.judge.predict_on_batch(np.stack([sample.image.transpose(1, 2, 0) for sample in shown]))
        epoch = -(-self.step // steps_per_epoch(len(self.samples), self.recipe.batch))
        write_sheet(self.out, epoch, self.recipe, shown, np.asarray(answers[0]).transpose(0, 3, 1, 2))
        return float(self.judge.evaluate(data, verbose=0, return_dict=True)["loss"])

    def _write(self, model: Any) -> None:
        words = {**self.recipe.words(), "step": str(self.step)}
        write_weights(state_of(model, self.arch), self.out / "model.safetensors", **words)


@contextmanager
def _use_average(model: Any, on: bool) -> Iterator[None]:
    """Inside, the model holds the running average of its weights."""
    variables = model.trainable_variables if on else []
    present = [_numpy(variable) for variable in variables]
    if on:
        model.optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, present, strict=True):
            variable.assign(value)


def _numpy(variable: Any) -> np.ndarray:
    return np.array(load_keras_module().ops.convert_to_numpy(variable))


def _tensorboard(out: Path) -> list[Any]:
    """Keras' own logger; it writes with TensorFlow, whatever backend computes."""
    return [load_keras_module().callbacks.TensorBoard(str(out / "logs"), write_graph=False)]
