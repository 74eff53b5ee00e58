"""What masks hold that a run would learn without a complaint: nothing, the background, indices of classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..identify import shortlist
from .class_weights import pixels_of_classes
from .labels import Labels
from .pairs import Pair, complaint, damaged, label, label_picture, summary

__all__ = ["Audit", "at_least_two", "audit", "unpaired"]

RIM = 50  # the part of the shorter side that is its rim
FEW = 32  # grey levels below it are no brightness; an index of a class may be so high
MOST = 0.5  # of the masks, from which on they are all meant


@dataclass(frozen=True)
class Audit:
    """Attributes:
    problems: why a run would fail, or learn what is not meant; a sentence each.
    warnings: what it would pass over.
    usable: the pairs that can be read, those whose mask has an object and a background first.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    usable: tuple[Pair, ...]


@dataclass(frozen=True)
class _Mask:
    """Of one mask: the share of white in all of it and on its rim, its highest value, and whether it has 16 bits."""

    pair: Pair
    white: float
    rim: float
    highest: float
    deep: bool

    @property
    def blank(self) -> bool:
        return self.white in (0.0, 1.0)

    @property
    def inverted(self) -> bool:
        """White all around, and less of it inside: of 37 masks of objects and people none is (2026-11-27)."""
        return self.rim > 0.5 and self.rim > self.white


def audit(pairs: Sequence[Pair], labels: Labels, progress: Callable[[int], None] = lambda done: None) -> Audit:
    """Looks at every mask in full. `progress` is told how many are done."""
    unreadable, wrong = damaged(pairs), []
    good: list[Pair] = []
    for done, pair in enumerate(pairs, start=1):
        if (text := complaint(pair, labels)) is not None:
            wrong.append(text)
        elif str(pair.image) not in unreadable:
            good.append(pair)
        progress(done)
    problems = [summary(wrong, pairs)] if wrong else []
    warnings = [_list(list(unreadable), "photographs cannot be read and will be passed over")] if unreadable else []
    held = _of_classes(good, labels.classes, labels) if labels.classes else _of_masks(good, labels)
    problems += held.problems if good else ["none of the photographs can be used"]
    return Audit(tuple(problems), (*warnings, *held.warnings), held.usable)


def _of_masks(good: Sequence[Pair], labels: Labels) -> Audit:
    if labels.drawings:
        return _of_drawings(good, labels)
    masks = [_mask(pair) for pair in good if pair.mask]
    blank = {mask.pair for mask in masks if mask.blank}
    usable = (*(pair for pair in good if pair not in blank), *(pair for pair in good if pair in blank))
    return Audit(tuple(_meant_otherwise(masks)), tuple(_odd(masks)), usable)


def _of_drawings(good: Sequence[Pair], labels: Labels) -> Audit:
    pencil = [float(label(pair, labels).mean()) for pair in good if pair.mask]
    dark = [share for share in pencil if share > 0.5]
    problems = [f"all {len(pencil)} drawings are white paper"] if pencil and not any(pencil) else []
    if len(dark) > MOST * len(pencil):
        problems = [
            f"{len(dark)} of {len(pencil)} drawings are dark: are they inverted? The pencil is dark, paper white"
        ]
    return Audit(tuple(problems), (), tuple(good))


def _of_classes(good: Sequence[Pair], classes: tuple[str, ...], labels: Labels) -> Audit:
    """Which classes occur at all; pairs with most of them first."""
    maps = [pixels_of_classes(pair, labels) for pair in good if pair.mask]
    pixels = np.sum(maps, axis=0) if maps else np.zeros(len(classes))
    missing = [name for name, count in zip(classes, pixels, strict=True) if not count]
    alone = [f"the masks hold {classes[int(pixels.argmax())]} alone"] if len(missing) == len(classes) - 1 else []
    alone += [f"the masks hold {labels.ignore} alone, which is left out"] if maps and not pixels.any() else []
    warnings = [_list(missing, "classes occur in no mask")] if missing and not alone else []
    order = sorted(range(len(maps)), key=lambda n: -np.count_nonzero(maps[n]))
    return Audit(tuple(alone), tuple(warnings), tuple(good[n] for n in order))


def _mask(pair: Pair) -> _Mask:
    picture = label_picture(pair)
    values = np.asarray(picture, np.float64)
    highest = float(values.max()) if values.size else 0.0
    white = values > highest / 2
    k = max(1, min(white.shape) // RIM)
    rim = np.concatenate([white[:k].ravel(), white[-k:].ravel(), white[:, :k].ravel(), white[:, -k:].ravel()])
    return _Mask(pair, float(white.mean()), float(rim.mean()), highest, picture.mode not in ("1", "L"))


def _meant_otherwise(masks: Sequence[_Mask]) -> list[str]:
    """What is wrong with most of the masks."""
    if not masks:
        return []
    found = []
    if all(mask.highest == 0 for mask in masks):
        return [f"all {len(masks)} masks are empty"]
    if all(mask.white == 1 for mask in masks):
        return [f"all {len(masks)} masks are white all over"]
    inverted = [mask for mask in masks if mask.inverted]
    if len(inverted) > MOST * len(masks):
        found.append(
            f"{len(inverted)} of {len(masks)} masks are white around the picture and dark inside: are they inverted?"
            " The object is white; where it does surround the picture (sky, say), all is well"
        )
    highest = max(mask.highest for mask in masks)
    if 1 < highest < FEW:
        found.append(
            f"the masks hold no more than {highest:.0f} of 255 grey levels: are these indices of classes?"
            " Then name them: --classes NAME,NAME,…"
        )
    return found


def _odd(masks: Sequence[_Mask]) -> list[str]:
    """What is odd about some of them."""
    blank = [mask.pair.mask.name for mask in masks if mask.blank and mask.pair.mask]
    deep = [mask.pair.mask.name for mask in masks if mask.deep and mask.pair.mask]
    found = [_list(blank, "masks are empty or white all over")] if blank and len(blank) < len(masks) else []
    found += [_list(deep, "masks have more than 8 bits; each is divided by its own highest value")] if deep else []
    return found


def _list(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}: {shortlist(names)}"


def unpaired(masks: dict[str, Path], pairs: Sequence[Pair]) -> str | None:
    """Masks whose photograph is not there."""
    used = {pair.mask for pair in pairs}
    left = [path.name for path in masks.values() if path not in used]
    return _list(left, "masks have no photograph of their name") if left else None


def at_least_two(audit: Audit) -> tuple[Pair, Pair]:
    """The two that are fitted; one pair alone is fitted twice. Raises InputError."""
    if not audit.usable:
        raise InputError(audit.problems[0])
    return audit.usable[0], audit.usable[min(1, len(audit.usable) - 1)]
