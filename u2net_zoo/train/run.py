"""From folders to a finished run, whichever engine does it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..arch import KNOWN, U2NET, Architecture
from ..checkpoint import Checkpoint
from ..errors import CheckpointError, InputError, MissingExtraError, OptionError, UnknownNameError
from ..identify import shortlist
from ..preprocessing import KNOWN_PROFILES
from . import pairs, snapshots
from .augment import Augment
from .labels import labels_of
from .recipe import TRAINED, Recipe
from .result import Outcome
from .samples import Samples
from .start import adapted, check_channels, fresh, lacks_statistics, with_channels

if TYPE_CHECKING:
    from .setting import Setting

__all__ = [
    "ENGINES",
    "Request",
    "arch_named",
    "check_out",
    "check_request",
    "engine_named",
    "pairs_of",
    "require_torch",
    "start_of",
    "train",
    "validation_pairs_of",
]

ENGINES = ("keras", "torch")


@dataclass(frozen=True)
class Request:
    """What to learn from, and what to begin with.

    Attributes:
        masks: None when a teacher says what is right, or `halves`.
        halves: each picture of `images`, and of `validation_images`, holds its mask or drawing in its right half.
        part: of the pairs, kept aside for validation when no folder for it is named; 0 for none.
        start: weights to begin with; None for fresh ones of `arch`.
        arch: of fresh weights, u2net by default; a snapshot to resume from has to be of it, if it is given.
        resume: a snapshot, or a run's folder.
    """

    images: Path
    masks: Path | None = None
    validation_images: Path | None = None
    validation_masks: Path | None = None
    part: float = 0.0
    arch: str | None = None
    start: Checkpoint | None = None
    teacher: Checkpoint | None = None
    resume: Path | None = None
    engine: str = "torch"
    halves: bool = False


def train(request: Request, recipe: Recipe, setting: "Setting") -> Outcome | None:
    """Trains and writes `model.safetensors` into the folder of `setting`; None in all processes but the first.

    Raises:
        UsageError: the request makes no sense. InputError: data or weights cannot be used.
        TrainingError: the loss is not a number. OutputError: the folder cannot be written.
    """
    check_request(request, recipe)
    check_out(request, setting.out)
    learn, validate = _data(request, recipe)
    _name_damaged([*learn, *validate], setting)
    start = start_of(request, recipe, learn)
    if request.engine == "keras":
        from .keras_loop import fit

        resume = snapshots.latest(request.resume, "keras") if request.resume else None
        return fit(recipe, setting.out, start, learn, validate, request.teacher, setting.watcher, resume)
    return _torch(request, recipe, setting, start, learn, validate)


def _name_damaged(found: list[pairs.Pair], setting: "Setting") -> None:
    """Says in one line which photographs will be passed over. Raises InputError where none is left."""
    unreadable = pairs.damaged(found)
    if len(unreadable) == len(found):
        raise InputError(
            f"none of the {len(found)} photographs can be read; the first: {next(iter(unreadable.values()))}"
        )
    if unreadable:
        names = shortlist(unreadable)
        setting.watcher.noted(f"{names} cannot be read ({len(unreadable)} of {len(found)} photographs); passed over")


def start_of(request: Request, recipe: Recipe, learn: list[pairs.Pair]) -> Checkpoint:
    """The weights that a run begins with. Raises UsageError, InputError."""
    start = _start(request, recipe, learn)
    if request.teacher:
        _check_teacher(request.teacher.arch, start.arch)
        _check_views(request.teacher, recipe)
    return start


def _start(request: Request, recipe: Recipe, learn: list[pairs.Pair]) -> Checkpoint:
    if request.resume:
        path = snapshots.latest(request.resume, request.engine)
        start = snapshots.weights_of(path)
        if request.arch and start.arch != with_channels(arch_named(request.arch), recipe.out_ch, recipe.in_ch):
            raise CheckpointError(f"{path}: the snapshot is of {start.arch.name}, not {request.arch}")
        return start
    if request.start is None:
        arch = arch_named(request.arch or U2NET.name)
        return fresh(with_channels(arch, recipe.out_ch, recipe.in_ch), recipe.seed)
    given = adapted(request.start, recipe.out_ch, recipe.seed, recipe.in_ch)
    if not lacks_statistics(given.unfold()):
        return given
    try:
        from .norms import prepare
    except ModuleNotFoundError as error:
        raise MissingExtraError("fine-tuning folded weights", error.name or "torch", "train") from None
    return prepare(given, Samples(learn, Augment(recipe)), recipe)


def require_torch() -> None:
    """Raises MissingExtraError where the Torch engine cannot be loaded."""
    try:
        from . import torch_loop  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("u2zoo train", error.name or "lightning", "train") from None


def engine_named(name: str) -> str:
    """`torch` or `keras`. Raises UnknownNameError."""
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    return name


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
    require_torch()
    from .torch_loop import Trainer

    trainer = Trainer(recipe, setting, start, learn, validate, request.teacher)
    if request.resume:
        trainer.restore(snapshots.load(snapshots.latest(request.resume)))
    outcome = trainer.fit()
    return outcome if trainer.fabric.is_global_zero else None


def check_request(request: Request, recipe: Recipe) -> None:
    """Raises UsageError."""
    engine_named(request.engine)
    if request.masks is None and request.teacher is None and not request.halves:
        raise OptionError("no masks and no teacher; give --masks, --teacher or both")
    if request.halves and (request.masks or request.validation_masks or request.teacher):
        raise OptionError("--side-by-side: masks are in --images' right halves; leave out --masks and --teacher")
    if request.teacher and recipe.classes:
        raise OptionError("--classes with --teacher: a teacher's outputs are masks; classes are learned from --masks")
    if not recipe.classes and request.start and request.start.arch.out_ch > 1:
        raise OptionError(f"the weights tell {request.start.arch.out_ch} classes apart; name them with --classes")
    if request.start:
        check_channels(request.start.arch, recipe)
    if not 0 <= request.part < 1:
        raise OptionError(f"validation part {request.part}; allowed: 0 to below 1")
    _check_validation(request)
    if request.start and request.resume:
        raise OptionError("--finetune with --resume: a run goes on with its own weights; leave out one of them")
    if request.start and request.arch and not _is_of(request.start.arch, request.arch):
        raise OptionError(
            f"--arch {request.arch} with --finetune: the weights are of {request.start.arch.name}; leave --arch out"
        )


def _check_validation(request: Request) -> None:
    """Raises OptionError."""
    if request.validation_masks and not request.validation_images:
        raise OptionError("--val-masks without --val-images; give both")
    if request.validation_images and not (request.validation_masks or request.teacher or request.halves):
        raise OptionError("--val-images without --val-masks; give both")
    if request.validation_images and request.part:
        raise OptionError("--val-part with --val-images: validation is on the one or the other; leave out one")


def _is_of(given: Architecture, name: str) -> bool:
    """Whether it is the network of that name, whatever goes in and comes out of it."""
    return with_channels(given, 1) == with_channels(arch_named(name), 1)


def check_out(request: Request, out: Path) -> None:
    """Raises OptionError: an earlier run is in the folder, which is not the one to go on with."""
    if not request.resume and any(file for kind in snapshots.KINDS.values() for file in out.glob(f"step-*{kind}")):
        raise OptionError(f"{out} holds an earlier run; go on with --resume {out}, or name another folder")


def _check_teacher(teacher: Architecture, student: Architecture) -> None:
    """Raises OptionError."""
    if teacher.out_ch != 1:
        raise OptionError(f"the teacher {teacher.name} answers {teacher.out_ch} classes; allowed: masks")
    if teacher.in_ch != student.in_ch:
        raise OptionError(f"the teacher {teacher.name} takes {teacher.in_ch} channels, {student.name} {student.in_ch}")
    ours, theirs = len(student.outputs), len(teacher.outputs)
    if ours != theirs:
        raise OptionError(
            f"the teacher {teacher.name} has {theirs} outputs, {student.name} {ours}; allowed: equally many"
        )


def _check_views(teacher: Checkpoint, recipe: Recipe) -> None:
    """Raises OptionError: a teacher is shown what the recipe prepares, and its answers are the labels as they are."""
    theirs, ours = KNOWN_PROFILES.get(teacher.meta.get("profile", "")), KNOWN_PROFILES[recipe.profile]
    if theirs and (theirs.invert, theirs.mean, theirs.std) != (ours.invert, ours.mean, ours.std):
        way = f"--profile {theirs.name}" if theirs.name in TRAINED else "another teacher"
        raise OptionError(
            f"the teacher goes with profile {theirs.name}, not {ours.name}, which this run has; take {way}"
        )


def pairs_of(request: Request) -> list[pairs.Pair]:
    """All that `images` holds; with a teacher without masks. Raises InputError."""
    if request.halves:
        return pairs.find_halves(request.images)
    return pairs.find(request.images, None if request.teacher else request.masks)


def _data(request: Request, recipe: Recipe) -> tuple[list[pairs.Pair], list[pairs.Pair]]:
    """(training, validation) pairs, their masks checked; with a teacher masks are not looked at."""
    learn = pairs_of(request)
    pairs.check(learn, labels_of(recipe))
    if request.validation_images is None:
        return pairs.split(learn, request.part, recipe.seed)
    validate = validation_pairs_of(request)
    pairs.check(validate, labels_of(recipe))
    return learn, validate


def validation_pairs_of(request: Request) -> list[pairs.Pair]:
    """All that `validation_images` holds; none without it. Raises InputError."""
    folder = request.validation_images
    if folder is None:
        return []
    return (
        pairs.find_halves(folder)
        if request.halves
        else pairs.find(folder, None if request.teacher else request.validation_masks)
    )
