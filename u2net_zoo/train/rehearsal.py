"""Before a long run: what the data looks like, and whether two pictures can be learned at all."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import InputError
from ..system import scratch_folder
from .audit import Audit, at_least_two, audit, unpaired
from .class_weights import weights_for
from .labels import IGNORED, labels_of
from .pairs import Pair, listing, split
from .recipe import BALANCED, Recipe
from .run import Request, check_request, pairs_of, require_torch, start_of, validation_pairs_of

if TYPE_CHECKING:
    from .setting import Setting

__all__ = ["STEPS", "Fit", "Rehearsal", "rehearse"]

STEPS = 40
SIDE = 128  # pixels; enough to see an object, and a fifth of the time of 288
FALLEN = 0.8  # of the first loss: at a rate that learns, fresh weights fall below half of it in STEPS
AGREES = 0.9  # IoU from which on weights need not get any better


@dataclass(frozen=True)
class Fit:
    """Two pictures, learned by heart.

    Attributes:
        pictures: their names.
        first, last: the loss of the first step, and the mean of the last three.
        iou: of the network's masks at 0.5 and the true ones afterwards; None with a teacher, who has no masks.
    """

    pictures: tuple[str, str]
    steps: int
    first: float
    last: float
    iou: float | None

    @property
    def learns(self) -> bool:
        return self.last <= FALLEN * self.first or (self.iou is not None and self.iou >= AGREES)

    def summary(self) -> str:
        agreement = "" if self.iou is None else f", IoU {self.iou:.2f}"
        return f"loss {self.first:.3f} to {self.last:.3f} in {self.steps} steps{agreement}"


@dataclass(frozen=True)
class Rehearsal:
    """What was found. `fit` is None where no picture could be used."""

    pairs: int
    data: Audit
    fit: Fit | None

    @property
    def problems(self) -> tuple[str, ...]:
        stuck = [] if self.fit is None or self.fit.learns else [f"the loss does not fall: {self.fit.summary()}"]
        return (*self.data.problems, *stuck)

    def to_dict(self) -> dict[str, Any]:
        found = {"problems": list(self.problems), "warnings": list(self.data.warnings)}
        return {"pairs": self.pairs, "ok": not self.problems, **found, "fit": self.fit and asdict(self.fit)}


Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, how much there is


def rehearse(request: Request, recipe: Recipe, setting: "Setting", progress: Progress = lambda *_: None) -> Rehearsal:
    """Looks at all the data and fits two pictures of it, by the recipe; nothing is written.

    Raises:
        UsageError, InputError, TrainingError: as `run.train`, but for what is wrong with single masks.
    """
    check_request(request, recipe)
    masks = None if request.teacher else request.masks
    found, aside = pairs_of(request), validation_pairs_of(request)
    learn, _ = split(found, request.part, recipe.seed)
    total = len(found) + len(aside)
    data = audit(found, labels_of(recipe), lambda done: progress("masks", done, total))
    data = replace(data, problems=(*data.problems, *_unbalanced(recipe, set(learn) & set(data.usable))))
    if aside:
        theirs = audit(aside, labels_of(recipe), lambda done: progress("masks", len(found) + done, total))
        data = _with_validation(data, theirs)
    if masks and (text := unpaired(listing(masks), found)):
        data = replace(data, warnings=(*data.warnings, text))
    if not data.usable:
        return Rehearsal(len(found), data, None)
    return Rehearsal(len(found), data, _fit_two(at_least_two(data), request, recipe, setting, progress))


def _unbalanced(recipe: Recipe, usable: Collection[Pair]) -> list[str]:
    """Why the classes of these pairs cannot be weighted as the recipe says."""
    try:
        if usable:
            weights_for(recipe, list(usable))
    except InputError as error:
        return [str(error)]
    return []


def _with_validation(data: Audit, theirs: Audit) -> Audit:
    """With what is said of the pairs for validation."""
    problems, warnings = ([f"validation: {text}" for text in texts] for texts in (theirs.problems, theirs.warnings))
    return replace(data, problems=(*data.problems, *problems), warnings=(*data.warnings, *warnings))


def _fit_two(two: tuple[Pair, Pair], request: Request, recipe: Recipe, setting: "Setting", progress: Progress) -> Fit:
    if request.engine == "torch":
        require_torch()
    start = start_of(request, recipe, list(two))
    small = _small(recipe, start)
    engine = _in_keras if request.engine == "keras" else _in_torch
    with scratch_folder() as folder:
        here = replace(setting, out=Path(folder), logs=False, workers=0)
        told = lambda done: progress("two pictures", done, STEPS)  # noqa: E731
        losses, answer, truth = engine(two, small, here, start, request.teacher, told)
    iou = None if truth is None else _iou(answer, truth)
    names = two[0].image.name, two[1].image.name
    return Fit(names, STEPS, losses[0], float(np.mean(losses[-3:])), iou)


Fitted = tuple[list[float], np.ndarray, np.ndarray | None]  # losses; d0's logits and the labels, (2, C, S, S)


def _in_torch(
    two: tuple[Pair, Pair],
    recipe: Recipe,
    setting: "Setting",
    start: Checkpoint,
    teacher: Checkpoint | None,
    progress: Callable[[int], None],
) -> Fitted:
    import torch

    from .torch_loop import Trainer

    run = Trainer(recipe, setting, start, list(two), [], teacher)
    (batch,) = run.epoch_batches(0)
    losses = []
    for step in range(1, STEPS + 1):
        losses.append(run.train_step(batch))
        progress(step)
    with torch.no_grad():
        answer = run.core.logits(batch.image)[0].float().cpu().numpy()
    return losses, answer, None if batch.mask is None else batch.mask.cpu().numpy()


def _in_keras(
    two: tuple[Pair, Pair],
    recipe: Recipe,
    setting: "Setting",
    start: Checkpoint,
    teacher: Checkpoint | None,
    progress: Callable[[int], None],
) -> Fitted:
    from ..keras_model import load_keras_module
    from .augment import Augment
    from .keras_data import dataset, teacher_of
    from .keras_loop import compile_model
    from .samples import Samples

    keras = load_keras_module()
    model = compile_model(start, recipe, total=STEPS, class_weights=weights_for(recipe, two))
    answers = teacher_of(teacher) if teacher else None
    samples = Samples(list(two), Augment(recipe))
    image, targets = next(iter(dataset(samples, recipe, recipe.crop, 1, len(start.arch.outputs), answers)))
    losses = []
    for step in range(1, STEPS + 1):
        losses.append(float(model.train_on_batch(image, list(targets), return_dict=True)["loss"]))
        progress(step)
    answer = keras.ops.convert_to_numpy(model(image, training=True)[0]).transpose(0, 3, 1, 2)
    return losses, answer, None if teacher else np.asarray(targets[0]).transpose(0, 3, 1, 2)


def _small(recipe: Recipe, start: Checkpoint) -> Recipe:
    """At its rate, and without what takes longer than this does: warm-up, augmentation, schedule, average."""
    stride = start.arch.stride
    side = max(stride, min(recipe.crop, SIDE) // stride * stride)
    plain = replace(recipe, size=side, crop=side, augment="none", schedule="constant", warmup=0, ema=0.0)
    # Two pictures need not hold every class, so nothing can be balanced.
    weights = "" if recipe.class_weights == BALANCED else recipe.class_weights
    return replace(plain, batch=2, steps=STEPS, precision="32-true", class_weights=weights)


def _iou(logits: np.ndarray, truth: np.ndarray) -> float:
    """Of masks; of maps of classes the mean over those that are there."""
    if logits.shape[1] > 1:
        ours = np.where(truth[:, 0] == IGNORED, IGNORED, logits.argmax(1))
        there = [(ours == n, truth[:, 0] == n) for n in range(logits.shape[1])]
        shares = [(a & b).sum() / (a | b).sum() for a, b in there if (a | b).any()]
        return float(np.mean(shares)) if shares else 1.0
    ours, theirs = logits > 0, truth > 0.5
    together = float((ours | theirs).sum())
    return float((ours & theirs).sum()) / together if together else 1.0
