"""How to train: one frozen record, whose defaults are the authors' recipe."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from ..errors import OptionError, UnknownNameError
from ..weight_words import Classes, named_classes

if TYPE_CHECKING:
    from ..preprocessing import Profile

__all__ = ["AUGMENTATIONS", "BALANCED", "PRECISIONS", "SCHEDULES", "TRAINED", "Recipe", "check_ignored"]

AUGMENTATIONS = ("authors", "none", "strong")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
SCHEDULES = ("constant", "cosine")
BALANCED = "balanced"
TRAINED = ("grey", "paper", "portrait", "rgba")  # profiles


@dataclass(frozen=True)
class Recipe:
    """Settings of one run; those that change its result, and no others.

    Defaults: X. Qin et al., U²-Net, Pattern Recognition 106 (2020), section 4.3, and the authors' published trainer:
    sum of binary cross-entropy over the seven outputs, Adam at 1e-3 (betas .9, .999, eps 1e-8), 12 pictures a batch,
    resized to 320, flipped upside down half of the time, a 288 square cut at random; no schedule, average or clipping.

    Attributes:
        steps: stop after so many optimizer steps; 0: after `epochs`.
        batch: pictures per step, over all processes.
        flip: `"vertical"` as the authors do, `"horizontal"` or `"none"`; for `augment="authors"`.
        augment: `"authors"` (resize, flip, crop), `"strong"` (flip, scale, turn, colour, noise) or `"none"` (resize to
            `crop`, nothing random).
        warmup: steps in which the rate climbs to `rate`.
        clip: largest norm of the gradient, 0 for no limit.
        ema: decay of the weights' running average, which is then what is validated and kept; 0 for none.
        patience: stop after so many validations without a lower loss; 0: never.
        profile: how photographs are prepared, a name in `TRAINED`; it decides how many channels the network takes, and
            whether drawings are learned instead of masks (`portrait`).
        classes: names of the classes that are learned, separated by commas, background first; empty: masks.
        colours: of the classes, `#rrggbb` or words, separated by commas; empty: PASCAL VOC's.
        class_weights: what a pixel of each class counts in the loss: numbers separated by commas, `"balanced"` (see
            `class_weights`), or empty: all alike.
        ignore: the number in maps of classes whose pixels are not learned, such as PASCAL VOC's 255; -1: none.
    """

    epochs: int = 100
    steps: int = 0
    batch: int = 12
    rate: float = 1e-3
    size: int = 320
    crop: int = 288
    flip: str = "vertical"
    augment: str = "authors"
    precision: str = "32-true"
    schedule: str = "constant"
    warmup: int = 0
    clip: float = 0.0
    ema: float = 0.0
    patience: int = 0
    seed: int = 0
    profile: str = "paper"
    classes: str = ""
    colours: str = ""
    class_weights: str = ""
    ignore: int = -1

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(name, str(getattr(self, name)), known)
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise OptionError(f"{name} {getattr(self, name)}; allowed: {low} to {high}")
        if self.augment == "authors" and self.crop > self.size:
            raise OptionError(
                f"crop {self.crop} is larger than size {self.size}; allowed: up to size, with --crop {self.size}"
            )
        _check_classes(self)
        if self.classes and self.draws:
            raise OptionError(f"--classes with --profile {self.profile}, which learns drawings; take another profile")

    @property
    def told_apart(self) -> Classes | None:
        """The classes that are learned; None: masks are."""
        return named_classes(_texts(self.classes), _texts(self.colours)) if self.classes else None

    @property
    def weight_list(self) -> list[float] | None:
        """The classes' weights as they were typed; None: there are none, or they follow from the masks."""
        return (
            [float(text) for text in _texts(self.class_weights)] if self.class_weights not in ("", BALANCED) else None
        )

    @property
    def out_ch(self) -> int:
        """Channels of the network's outputs."""
        return len(self.told_apart.names) if self.told_apart else 1

    @property
    def in_ch(self) -> int:
        """Channels of the network's input."""
        return _profile(self.profile).channels

    @property
    def draws(self) -> bool:
        """Whether drawings are learned, dark on white, instead of masks."""
        return _profile(self.profile).invert

    def words(self) -> dict[str, str]:
        """What weights that were trained by it say of themselves; see `weight_words`."""
        return {"profile": self.profile, **(self.told_apart.to_words() if self.told_apart else {})}

    def to_dict(self) -> dict[str, int | float | str]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, int | float | str]) -> "Recipe":
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})  # type: ignore[arg-type]


_CHOICES = {
    "flip": ("horizontal", "none", "vertical"),
    "augment": AUGMENTATIONS,
    "precision": PRECISIONS,
    "schedule": SCHEDULES,
    "profile": TRAINED,
}
_BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, 1_000_000),
    "steps": (0, 1_000_000_000),
    "batch": (1, 65_536),
    "rate": (1e-12, 10.0),
    "size": (32, 4096),
    "crop": (32, 4096),
    "warmup": (0, 1_000_000_000),
    "clip": (0.0, 1e6),
    "ema": (0.0, 0.999999),
    "patience": (0, 1_000_000),
    "seed": (0, 2**32 - 1),
    "ignore": (-1, 65_535),
}


def _profile(name: str) -> "Profile":
    from ..preprocessing import get_profile  # NumPy, which help does not wait for

    return get_profile(name)


def _texts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def check_ignored(ignore: int, classes: Sequence[str]) -> None:
    """Raises OptionError: it is the number of a class."""
    if 0 <= ignore < len(classes):
        raise OptionError(f"ignore {ignore}: is class {classes[ignore]}; allowed: numbers that are no class")


def _check_classes(recipe: Recipe) -> None:
    """Raises OptionError."""
    classes = recipe.told_apart
    if classes is None and (recipe.colours or recipe.class_weights or recipe.ignore >= 0):
        raise OptionError("--colours, --class-weights and --ignore go with --classes, which names the classes")
    check_ignored(recipe.ignore, classes.names if classes else ())
    try:
        weights = recipe.weight_list
    except ValueError:
        weights = []
    if weights is not None and (len(weights) != recipe.out_ch or not all(0 < weight < 1e6 for weight in weights)):
        raise OptionError(
            f"class weights {recipe.class_weights!r}; allowed: {BALANCED}, or a number above 0 for each of the"
            f" {recipe.out_ch} classes"
        )
