"""Training on the native Keras model with `model.fit`, any backend, the same pictures and losses as in Torch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import OptionError, TrainingError
from ..keras_model import build, load_keras_module, state_of
from .augment import Augment
from .keras_data import Counted, Teacher, dataset, teacher_of
from .pairs import Pair
from .recipe import Recipe
from .result import Outcome
from .samples import Samples
from .schedule import rate_at, steps_per_epoch, total_steps
from .start import with_norms
from .storing import write_weights
from .watch import Silent, Watcher

__all__ = ["compile_model", "fit"]


def compile_model(start: Checkpoint, recipe: Recipe, side: int | None = None) -> Any:
    """The training model of a checkpoint for pictures of `side` (`recipe.crop`), compiled by the recipe.

    Its outputs are the seven logits: on them binary cross-entropy is stable and equals Torch's. Its layers are those of
    `keras_model.build`, so `keras_model.state_of` reads the trained weights from it.

    Raises:
        OptionError: a setting that the Keras model cannot honour.
    """
    side = side or recipe.crop
    _refuse(start, recipe, side)
    keras = load_keras_module()
    model = build(with_norms(start), size=(side, side))
    logits = [model.get_layer(name).input for name in start.arch.outputs]
    training = keras.Model(model.inputs[0], logits, name=f"{model.name}_logits")
    average = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
    optimizer = keras.optimizers.Adam(
        recipe.rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8, global_clipnorm=recipe.clip or None, **average
    )
    losses = [keras.losses.BinaryCrossentropy(from_logits=True) for _ in logits]
    training.compile(optimizer, loss=losses, jit_compile=False)  # compiling it takes longer than many a run
    return training


def _refuse(start: Checkpoint, recipe: Recipe, side: int) -> None:
    if start.arch.out_ch != 1:
        raise OptionError(f"{start.arch.name} has {start.arch.out_ch} output channels; only masks can be trained")
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
) -> Outcome:
    """Trains to the end, or until validation stops getting better. Raises TrainingError, OptionError, OutputError."""
    started = time.time()
    model = compile_model(start, recipe)
    arch = with_norms(start).arch
    answer = teacher_of(teacher) if teacher else None
    samples = Counted(train, Augment(recipe))
    total, per_epoch = total_steps(recipe, len(train)), steps_per_epoch(len(train), recipe.batch)
    per_epoch = min(per_epoch, total)
    check = Counted(validation, Augment(recipe, training=False)) if validation else None
    follow = _Follow(recipe, total, out, arch, check, answer, watcher or Silent())
    with follow.watcher.run(total, 0):
        model.fit(
            dataset(samples, recipe, recipe.crop, total, len(arch.outputs), answer),
            steps_per_epoch=per_epoch,
            epochs=-(-total // per_epoch),
            callbacks=[follow.callback(), *_tensorboard(out)],
            shuffle=False,
            verbose=0,
        )
    return Outcome(
        steps=follow.step,
        loss=follow.loss,
        best=follow.best if check else None,
        stopped=follow.stopped,
        weights=str(out / "model.safetensors"),
        skipped=dict(samples.skipped),
        seconds=round(time.time() - started, 1),
        steps_per_second=round(follow.step / max(time.time() - started, 1e-9), 3),
    )


class _Follow:
    """What happens around the steps: rate, NaN, validation, early stopping, weights on disk."""

    def __init__(
        self,
        recipe: Recipe,
        total: int,
        out: Path,
        arch: Any,
        check: Samples | None,
        teacher: Teacher | None,
        watcher: Watcher,
    ):
        self.recipe, self.total, self.out, self.arch = recipe, total, out, arch
        self.check, self.teacher, self.watcher = check, teacher, watcher
        self.step, self.loss, self.best, self.stale = 0, float("nan"), float("inf"), 0
        self.stopped = "end of schedule"
        self.judge: Any = None

    def callback(self) -> Any:
        follow = self

        class Callback(load_keras_module().callbacks.Callback):  # type: ignore[misc]
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                self.model.optimizer.learning_rate = rate_at(follow.recipe, follow.step, follow.total)

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                follow.after_step(batch, float((logs or {})["loss"]))

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                self.model.stop_training = follow.after_epoch(self.model)

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
        self.watcher.step(self.step, mean)

    def after_epoch(self, model: Any) -> bool:
        """Whether to stop."""
        with _averaged(model, bool(self.recipe.ema)):
            if self.check is None:
                self._write(model)
                return False
            value = self._validate(model, self.check)
            better = value < self.best
            if better:
                self._write(model)
        self.best, self.stale = (value, 0) if better else (self.best, self.stale + 1)
        self.watcher.validated(self.step, value, better)
        stop = bool(self.recipe.patience) and self.stale >= self.recipe.patience
        self.stopped = "early stopping" if stop else self.stopped
        return stop

    def _validate(self, model: Any, check: Samples) -> float:
        """Mean loss over the validation pairs, on whole photographs of `recipe.size`."""
        if self.judge is None:
            self.judge = compile_model(state_of(model, self.arch), self.recipe, self.recipe.size)
        self.judge.set_weights(model.get_weights())
        steps = steps_per_epoch(len(check), self.recipe.batch)
        data = dataset(check, self.recipe, self.recipe.size, steps, len(self.arch.outputs), self.teacher)
        return float(self.judge.evaluate(data, verbose=0, return_dict=True)["loss"])

    def _write(self, model: Any) -> None:
        write_weights(state_of(model, self.arch), self.out / "model.safetensors", step=str(self.step))


@contextmanager
def _averaged(model: Any, on: bool) -> Iterator[None]:
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
