"""Photographs and their masks: found, checked and read. No framework."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..depth import sixteen_bits
from ..errors import ImageError, InputError
from ..identify import shortlist
from ..preprocessing import read_image, to_rgb
from .labels import Labels

__all__ = ["Pair", "check", "complaint", "damaged", "find", "listing", "read", "split"]

KINDS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MASKS = Labels()
ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND"}  # how a whole JPEG or PNG file begins -> what ends it
TAIL = 4096  # bytes in which the end is looked for

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """A photograph and its mask; `mask` is None where a teacher is to say what it should be."""

    image: Path
    mask: Path | None


def listing(folder: str | Path) -> dict[str, Path]:
    """Stem -> file, sorted by name. Raises InputError: no such folder, no pictures in it, or two of one stem."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in KINDS and not path.name.startswith("."))
    stems: dict[str, Path] = {}
    for path in files:
        if path.stem in stems:
            raise InputError(f"{folder}: {stems[path.stem].name} and {path.name} share a name; which mask is whose?")
        stems[path.stem] = path
    if not stems:
        raise InputError(f"{folder}: no pictures in it; looked for {', '.join(KINDS)}")
    return stems


def find(images: str | Path, masks: str | Path | None) -> list[Pair]:
    """Every photograph of `images` with the file of the same stem in `masks`; without `masks`, photographs alone.

    Raises:
        InputError: a folder is missing or empty, or a photograph has no mask; names the first few.
    """
    photographs = listing(images)
    if masks is None:
        return [Pair(path, None) for path in photographs.values()]
    answers = listing(masks)
    missing = [path.name for stem, path in photographs.items() if stem not in answers]
    if missing:
        raise InputError(
            f"{masks}: no mask for {shortlist(missing)} ({len(missing)} of {len(photographs)} photographs)"
            f"{_hint(missing[0], answers)}"
        )
    return [Pair(path, answers[stem]) for stem, path in photographs.items()]


def _hint(photograph: str, answers: dict[str, Path]) -> str:
    """What masks are called where their names are those of the photographs and something more."""
    stem = Path(photograph).stem
    near = next((path.name for name, path in answers.items() if name.startswith(stem) or name.endswith(stem)), "")
    return f"; names have to be the same, and there is {near}" if near else ""


def check(pairs: Sequence[Pair], labels: Labels = MASKS) -> None:
    """Fails early on masks that are of another size, not grey or unreadable; photographs see `damaged`.

    Raises:
        InputError: names the first few of them.
    """
    complaints = [text for pair in pairs if (text := complaint(pair, labels))]
    if complaints:
        raise InputError(f"{shortlist(complaints, '; ')} ({len(complaints)} of {len(pairs)} masks cannot be used)")


def damaged(pairs: Sequence[Pair]) -> dict[str, str]:
    """Photographs that cannot be read -> why. A file whose end is in its place is taken for whole."""
    found = {str(pair.image): _damage(pair.image) for pair in pairs}
    return {name: why for name, why in found.items() if why}


def read(pair: Pair, labels: Labels = MASKS) -> tuple[np.ndarray, np.ndarray | None]:
    """The photograph, (H, W, 3) uint8, and its mask, (H, W) float32 in [0, 1] with its maximum at 1 unless it is empty.

    A photograph of more than 8 bits is uint16.

    Raises:
        ImageError: one of them is not readable.
        InputError: the mask is of another size or not grey.
    """
    photograph = read_image(pair.image)
    deep = sixteen_bits(photograph)
    image = np.asarray(to_rgb(photograph)) if deep is None else deep
    if pair.mask is None:
        return image, None
    mask = labels.read(pair.mask)
    if mask.shape != image.shape[:2]:
        raise InputError(_sizes(pair.mask, mask.shape[::-1], image.shape[1::-1]))
    return image, mask


def split(pairs: Sequence[Pair], part: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """(train, validation): `part` of the pairs, at least one when part > 0, drawn by `seed`, is kept aside."""
    count = max(1, round(part * len(pairs))) if part > 0 else 0
    if count >= len(pairs) and count:
        raise InputError(f"{len(pairs)} pairs are too few to keep {part:.0%} of them aside for validation")
    aside = set(np.random.default_rng(seed).permutation(len(pairs))[:count].tolist())
    return [p for i, p in enumerate(pairs) if i not in aside], [p for i, p in enumerate(pairs) if i in aside]


def complaint(pair: Pair, labels: Labels = MASKS) -> str | None:
    """What is wrong with a pair's mask; None also where there is none, or the photograph itself cannot be read."""
    if pair.mask is None:
        return None
    image, mask = pair.image, pair.mask
    sizes = _read_quietly(lambda: (_upright_size(image), _upright_size(mask)))
    if sizes and sizes[0] != sizes[1]:
        return _sizes(mask, sizes[1], sizes[0])
    try:
        if _read_quietly(lambda: Image.open(mask).mode) not in labels.modes:
            labels.read(mask)
    except ImageError:
        return f"{mask}: the mask cannot be read"
    except InputError as error:
        return str(error)
    return f"{mask}: the mask cannot be read" if _damage(mask) else None


def _damage(path: Path) -> str | None:
    """Why a picture cannot be read. Only those are decoded whose end is not in its place, or of another kind."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(max(0, path.stat().st_size - TAIL))
            end = next((end for begin, end in ENDS.items() if start.startswith(begin)), None)
            if end is None or end not in file.read():
                read_image(path)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None


def _upright_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        turned = picture.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 … 8 lie on their side
        return picture.size[::-1] if turned else picture.size


def _read_quietly(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return None


def _sizes(mask: Path, got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    return f"{mask}: the mask is {got[0]}x{got[1]}, its photograph {expected[0]}x{expected[1]}"
