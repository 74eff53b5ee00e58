"""Training in Torch through Lightning Fabric: one process or several, one machine or more, any device and precision."""

import math
import time
from collections.abc import Iterator
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..checkpoint import Checkpoint
from ..errors import CheckpointError, InputError, OptionError, TrainingError, one_line
from ..torch_model import U2Net, build, state_of
from . import snapshots
from .augment import Augment
from .class_weights import weights_for
from .fabric import Logits, make_fabric
from .loss_record import LossRecord
from .losses import deep_bce, deep_cross_entropy, distillation
from .mask_sheet import first_samples, write_sheet
from .norms import share_statistics
from .pairs import Pair
from .recipe import Recipe
from .result import Outcome
from .samples import Order, Samples
from .schedule import rate_at, steps_per_epoch, total_steps
from .setting import Setting
from .storing import check_channels, write_weights
from .torch_data import Batch, loader

__all__ = ["Trainer"]


class Trainer:
    """One run.

    Args:
        start: the weights to begin with; folded ones get batch norm back.
        train, validation: pairs; their masks may be None when there is a teacher.
        teacher: its outputs are the targets, instead of the masks.

    Raises:
        OptionError: the network's outputs are not the recipe's, or the batch cannot be shared by the processes.
    """

    def __init__(
        self,
        recipe: Recipe,
        setting: Setting,
        start: Checkpoint,
        train: list[Pair],
        validation: list[Pair],
        teacher: Checkpoint | None = None,
        fabric: Fabric | None = None,
    ):
        check_channels(start.arch, recipe)
        self.recipe, self.setting = recipe, setting
        self.fabric = fabric or make_fabric(recipe, setting)
        self.train_samples = Samples(train, Augment(recipe))
        self.validation_samples = Samples(validation, Augment(recipe, training=False)) if validation else None
        self.total = total_steps(recipe, len(train))
        self.per_epoch = steps_per_epoch(len(train), recipe.batch)
        self.step, self.best, self.stale, self.loss = 0, float("inf"), 0, float("nan")
        self.skipped: dict[str, int] = {}
        self.record = LossRecord(setting.out, on=False)
        self._build(start, teacher)

    def _build(self, start: Checkpoint, teacher: Checkpoint | None) -> None:
        world = self.fabric.world_size
        if self.recipe.batch % world:
            raise OptionError(f"batch {self.recipe.batch} cannot be shared by {world} processes; take a multiple")
        start = start.unfold()
        self.arch = start.arch
        core = build(start)
        if world > 1:
            share_statistics(core, on_gpu=self.fabric.device.type == "cuda")
        self.core: U2Net = core.train()
        optimizer = torch.optim.Adam(core.parameters(), lr=self.recipe.rate, betas=(0.9, 0.999), eps=1e-8)
        self.model, self.optimizer = self.fabric.setup(Logits(core), optimizer)
        self.average = self._average() if self.recipe.ema else None
        weights = weights_for(self.recipe, self.train_samples.pairs)
        self.class_weights = None if weights is None else torch.from_numpy(weights).to(self.fabric.device)
        self.teacher = build(teacher).to(self.fabric.device).requires_grad_(False) if teacher else None

    def _average(self) -> AveragedModel:
        return AveragedModel(self.core, multi_avg_fn=get_ema_multi_avg_fn(self.recipe.ema), use_buffers=True)

    def fit(self) -> Outcome:
        """Trains to the end, or until validation stops getting better. Raises TrainingError, OutputError."""
        started = time.time()
        first = self.step
        self.record = LossRecord(self.setting.out, first, on=self.setting.logs and self.fabric.is_global_zero)
        stopped = "early" if self._stale() else "end"
        try:
            with self.setting.watcher.run(self.total, self.step):
                while self.step < self.total and stopped == "end":
                    self._epoch()
                    if self.step % self.per_epoch == 0 or self.step == self.total:
                        stopped = self._close_epoch()
        finally:
            for logger in self.fabric.loggers:
                logger.finalize("ended")
        return Outcome(
            steps=self.step,
            loss=self.loss,
            best=self.best if self.validation_samples else None,
            stopped="early stopping" if stopped == "early" else "end of schedule",
            weights=str(self.setting.out / "model.safetensors"),
            skipped=dict(self.skipped),
            seconds=round(time.time() - started, 1),
            steps_per_second=round((self.step - first) / max(time.time() - started, 1e-9), 3),
        )

    def _epoch(self) -> None:
        """The rest of the present epoch, from the step at which the run stands."""
        for batch in self._batches(self.train_samples, self.step // self.per_epoch, self.step % self.per_epoch):
            if self.step >= self.total:
                return
            self._note(batch)
            self.loss = self.train_step(batch)
            self.record.step(self.step, self.loss)
            self.setting.watcher.step(self.step, self.loss)
            self.fabric.log_dict({"loss": self.loss, "rate": self.optimizer.param_groups[0]["lr"]}, step=self.step)
            if self.step % self.setting.save_every == 0:
                self.save()

    def train_step(self, batch: Batch) -> float:
        """One optimizer step; the loss before it, averaged over the processes. Raises TrainingError on NaN."""
        loss = self.backward(batch)
        if self.recipe.clip:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.core)
        self.step += 1
        return loss

    def backward(self, batch: Batch) -> float:
        """Gradients of the batch's loss, averaged over the processes. Raises TrainingError on a loss that is NaN."""
        rate = rate_at(self.recipe, self.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(self.model(batch.image), batch)
        value = float(cast(Tensor, self.fabric.all_reduce(loss.detach(), reduce_op="mean")))
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.step + 1}; training stopped, {self._last()}. "
                f"Try a lower rate (now {self.recipe.rate:g}), gradient clipping or precision 32-true"
            )
        self.fabric.backward(loss)
        return value

    def loss_of(self, logits: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """To the teacher's outputs if there is a teacher, else to the masks."""
        if self.teacher is not None:
            with torch.no_grad():
                targets = [torch.sigmoid(d) for d in self.teacher.logits(batch.image)]  # whatever its final is
            return distillation(logits, targets)
        if batch.mask is None:
            raise InputError("pairs without masks, and no teacher to say what they are")
        if self.recipe.classes:
            return deep_cross_entropy(logits, batch.mask, self.class_weights)
        return deep_bce(logits, batch.mask)

    def _close_epoch(self) -> str:
        epoch = -(-self.step // self.per_epoch)
        last = self.step >= self.total
        if self.validation_samples and (epoch % self.setting.validate_every == 0 or last):
            value = self.validate(self.validation_samples)
            better = value < self.best
            self.best, self.stale = (value, 0) if better else (self.best, self.stale + 1)
            self.fabric.log_dict({"validation": value}, step=self.step)
            self.record.validated(self.step, value)
            self._write_sheet(epoch, self.validation_samples)
            self.setting.watcher.validated(self.step, value, better)
            if better:
                self._write_weights()
        elif not self.validation_samples:
            self._write_weights()
        self.save()
        return "early" if self._stale() else "end"

    def _stale(self) -> bool:
        return bool(self.recipe.patience) and self.stale >= self.recipe.patience

    @torch.no_grad()
    def validate(self, samples: Samples) -> float:
        """Mean loss over the pairs, with the averaged weights if there are any."""
        core = self._averaged_model()
        core.eval()
        total = torch.zeros(2, dtype=torch.float64)
        for batch in self._batches(samples, epoch=0, first=0):
            self._note(batch)
            with self.fabric.autocast():
                value = self.loss_of(core.logits(batch.image), batch)
            total += torch.tensor([float(value) * len(batch.image), len(batch.image)])
        core.train()
        value, count = cast(Tensor, self.fabric.all_reduce(total.to(self.fabric.device).float(), reduce_op="sum"))
        return float(value / count)

    def epoch_batches(self, epoch: int) -> Iterator[Batch]:
        """The training batches of one epoch."""
        return self._batches(self.train_samples, epoch, 0)

    def _batches(self, samples: Samples, epoch: int, first: int) -> Iterator[Batch]:
        order = Order(
            len(samples),
            self.recipe.batch,
            self.recipe.seed,
            epoch,
            first,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        for batch in loader(samples, order, self.setting.workers, pin=self.fabric.device.type == "cuda"):
            yield batch.to(self.fabric.device)

    @torch.no_grad()
    def _write_sheet(self, epoch: int, samples: Samples) -> None:
        if not (self.setting.logs and self.fabric.is_global_zero):
            return
        core, shown = self._averaged_model().eval(), first_samples(samples)
        image = torch.stack([torch.from_numpy(sample.image) for sample in shown]).to(self.fabric.device)
        write_sheet(self.setting.out, epoch, self.recipe, shown, core.logits(image)[0].float().cpu().numpy())
        core.train()

    def _note(self, batch: Batch) -> None:
        for name, reason in batch.skipped:
            self.skipped[name] = self.skipped.get(name, 0) + 1
            self.setting.watcher.skipped(name, reason, self.skipped[name])

    def weights(self) -> Checkpoint:
        """The weights to use: the running average if there is one."""
        return state_of(self._averaged_model())

    def _averaged_model(self) -> U2Net:
        return self.core if self.average is None else cast(U2Net, self.average.module)

    def _write_weights(self) -> None:
        if self.fabric.is_global_zero:
            words = {**self.recipe.words(), "step": str(self.step)}
            write_weights(self.weights(), self.setting.out / "model.safetensors", **words)

    def save(self) -> None:
        """A snapshot to resume from; written by the first process, waited for by all. Raises OutputError."""
        if self.fabric.is_global_zero:
            content = {
                "recipe": self.recipe.to_dict(),
                "model": self.core.state_dict(),
                "average": self.average.state_dict() if self.average is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.fabric.strategy.precision.state_dict(),
                "pairs": len(self.train_samples),
                "step": self.step,
                "best": self.best,
                "stale": self.stale,
                "skipped": self.skipped,
            }
            snapshots.save(content, self.setting.out)
            self.record.write()
        self.fabric.barrier()

    def restore(self, content: dict[str, Any]) -> None:
        """Goes on where a snapshot was taken: with the same recipe, the result is the unbroken run's, bit for bit.

        Raises:
            InputError: the photographs are not as many as they were.
            CheckpointError: the snapshot is of another network.
        """
        if content["pairs"] != len(self.train_samples):
            raise snapshots.other_data(content["pairs"], len(self.train_samples))
        try:
            self.core.load_state_dict(content["model"])
        except RuntimeError as error:
            raise CheckpointError(f"the snapshot is not of {self.arch.name} ({one_line(error)})") from None
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.fabric.strategy.precision.load_state_dict(content.get("scaler", {}))
        self.step, self.best, self.stale = content["step"], content["best"], content["stale"]
        self.skipped = dict(content.get("skipped", {}))

    def _last(self) -> str:
        kept = sorted(self.setting.out.glob("step-*.pt"))
        return f"the last snapshot is {kept[-1]}" if kept else "there is no snapshot yet"
