"""From folders to a finished run, whichever engine does it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..arch import Architecture
from ..checkpoint import KNOWN, Checkpoint
from ..errors import MissingExtraError, OptionError, UnknownNameError
from . import pairs
from .augment import Augment
from .recipe import Recipe
from .result import Outcome
from .samples import Samples
from .start import fresh, lacks_statistics, with_norms

if TYPE_CHECKING:
    from .setting import Setting

__all__ = ["ENGINES", "Request", "arch_named", "train"]

ENGINES = ("keras", "torch")


@dataclass(frozen=True)
class Request:
    """What to learn from, and what to begin with.

    Attributes:
        masks: None when a teacher says what is right.
        part: of the pairs, kept aside for validation when no folder for it is named; 0 for none.
        start: weights to begin with; None for fresh ones of `arch`.
        resume: a snapshot, or a run's folder.
    """

    images: Path
    masks: Path | None = None
    validation_images: Path | None = None
    validation_masks: Path | None = None
    part: float = 0.0
    arch: str = "u2net"
    start: Checkpoint | None = None
    teacher: Checkpoint | None = None
    resume: Path | None = None
    engine: str = "torch"


def train(request: Request, recipe: Recipe, setting: "Setting") -> Outcome | None:
    """Trains and writes `model.safetensors` into the folder of `setting`; None in all processes but the first.

    Raises:
        UsageError: the request makes no sense. InputError: data or weights cannot be used.
        TrainingError: the loss is not a number. OutputError: the folder cannot be written.
    """
    _check(request, setting.out)
    learn, validate = _data(request, recipe)
    start = _start(request, recipe, learn)
    if request.engine == "keras":
        from .keras_loop import fit

        return fit(recipe, setting.out, start, learn, validate, request.teacher, setting.watcher)
    return _torch(request, recipe, setting, start, learn, validate)


def _start(request: Request, recipe: Recipe, learn: list[pairs.Pair]) -> Checkpoint:
    if request.start is None:
        return fresh(arch_named(request.arch), recipe.seed)
    if not lacks_statistics(with_norms(request.start)):
        return request.start
    try:
        from .norms import prepare
    except ModuleNotFoundError as error:
        raise MissingExtraError("fine-tuning folded weights", error.name or "torch", "train") from None
    return prepare(request.start, Samples(learn, Augment(recipe)), recipe)


def arch_named(name: str) -> Architecture:
    """A known architecture. Raises UnknownNameError."""
    known = {arch.name: arch for arch in KNOWN}
    if name not in known:
        raise UnknownNameError("architecture", name, known)
    return known[name]


def _torch(
    request: Request,
    recipe: Recipe,
    setting: "Setting",
    start: Checkpoint,
    learn: list[pairs.Pair],
    validate: list[pairs.Pair],
) -> Outcome | None:
    try:
        from .torch_loop import Trainer
    except ModuleNotFoundError as error:
        raise MissingExtraError("u2zoo train", error.name or "lightning", "train") from None
    trainer = Trainer(recipe, setting, start, learn, validate, request.teacher)
    if request.resume:
        from . import snapshots

        trainer.restore(snapshots.load(snapshots.latest(request.resume)))
    outcome = trainer.fit()
    return outcome if trainer.fabric.is_global_zero else None


def _check(request: Request, out: Path) -> None:
    if request.engine not in ENGINES:
        raise UnknownNameError("engine", request.engine, ENGINES)
    if request.masks is None and request.teacher is None:
        raise OptionError("no masks and no teacher; give --masks, --teacher or both")
    if not 0 <= request.part < 1:
        raise OptionError(f"validation part {request.part}; allowed: 0 to below 1")
    if request.resume and request.engine == "keras":
        raise OptionError("--resume with Keras; allowed with torch only: go on from model.safetensors with --finetune")
    if not request.resume and any(out.glob("step-*.pt")):
        raise OptionError(f"{out} holds an earlier run; go on with --resume {out}, or name another folder")


def _data(request: Request, recipe: Recipe) -> tuple[list[pairs.Pair], list[pairs.Pair]]:
    """(training, validation) pairs, their masks checked; with a teacher masks are not looked at."""
    masks = None if request.teacher else request.masks
    learn = pairs.find(request.images, masks)
    pairs.check(learn)
    if request.validation_images is None:
        return pairs.split(learn, request.part, recipe.seed)
    validation_masks = None if request.teacher else request.validation_masks
    if validation_masks is None and not request.teacher:
        raise OptionError("--val-images without --val-masks; give both")
    validate = pairs.find(request.validation_images, validation_masks)
    pairs.check(validate)
    return learn, validate
