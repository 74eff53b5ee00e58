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
from ..photographs import planes, read_image, to_rgb
from .labels import GREY, Labels, grey_image, one_channel

__all__ = [
    "Pair",
    "check",
    "complaint",
    "damaged",
    "find",
    "find_halves",
    "label",
    "label_picture",
    "listing",
    "read",
    "split",
    "summary",
]

KINDS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MASKS = Labels()
COLOURS = ("RGB", "RGBA", "CMYK", "YCbCr")
UNREADABLE = "the mask cannot be read; replace it, or take it and its photograph out"
ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND"}  # how a whole JPEG or PNG file begins -> what ends it
TAIL = 4096  # bytes in which the end is looked for

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """A photograph and its mask; `mask` is None where a teacher is to say what it should be.

    Where both are one file, it holds them side by side: the photograph left, the mask or drawing right.
    """

    image: Path
    mask: Path | None

    @property
    def halves(self) -> bool:
        return self.mask == self.image


def listing(folder: str | Path) -> dict[str, Path]:
    """Stem -> file, sorted by name. Raises InputError: no such folder, no pictures in it, or two of one stem."""
    folder = Path(folder)
    if not folder.is_dir():
        here = "is a file; name the folder of pictures" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {here}")
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
    if Path(images).resolve() == Path(masks).resolve():
        raise InputError(
            f"{images}: photographs and masks are one folder; name two, or --side-by-side for both in a file"
        )
    missing = [path.name for stem, path in photographs.items() if stem not in answers]
    if missing:
        raise InputError(
            f"{masks}: no mask for {shortlist(missing)} ({len(missing)} of {len(photographs)} photographs);"
            f" {_hint(missing[0], answers)}"
        )
    return [Pair(path, answers[stem]) for stem, path in photographs.items()]


def find_halves(images: str | Path) -> list[Pair]:
    """Every picture of a folder as a photograph and what is right of it, as APDrawing has them. Raises InputError."""
    return [Pair(path, path) for path in listing(images).values()]


def _hint(photograph: str, answers: dict[str, Path]) -> str:
    """What masks are called where their names are those of the photographs and something more."""
    stem = Path(photograph).stem
    near = next((path.name for name, path in answers.items() if name.startswith(stem) or name.endswith(stem)), "")
    return f"names have to be the same, and there is {near}" if near else "add it, or take the photograph out"


def check(pairs: Sequence[Pair], labels: Labels = MASKS) -> None:
    """Fails early on masks that are of another size, not grey or unreadable; photographs see `damaged`.

    Raises:
        InputError: names the first few of them.
    """
    complaints = [text for pair in pairs if (text := complaint(pair, labels))]
    if complaints:
        raise InputError(summary(complaints, pairs))


def summary(complaints: Sequence[str], pairs: Sequence[Pair]) -> str:
    """What `complaint` says of some of the pairs, in one line: each reason once, after the files that it is true of."""
    files: dict[str, list[str]] = {}
    for text in complaints:
        name, _, reason = text.partition(": ")
        files.setdefault(reason, []).append(name)
    said = shortlist((f"{shortlist(names)}: {reason}" for reason, names in files.items()), "; ")
    hint = "; are photographs and masks swapped?" if len(complaints) == len(pairs) and _swapped(pairs) else ""
    return f"{said} ({len(complaints)} of {len(pairs)} masks cannot be used){hint}"


def _swapped(pairs: Sequence[Pair]) -> bool:
    """Whether each mask is of colours, and each photograph of none."""
    return all(
        pair.mask is not None and _mode(pair.mask) in COLOURS and _mode(pair.image) in (*GREY, "P") for pair in pairs
    )


def _mode(path: Path) -> str | None:
    def read() -> str:
        with Image.open(path) as picture:
            return picture.mode

    return _read_quietly(read)


def damaged(pairs: Sequence[Pair]) -> dict[str, str]:
    """Photographs that cannot be read -> why. A file whose end is in its place is taken for whole."""
    found = {str(pair.image): _damage(pair.image) for pair in pairs}
    return {name: why for name, why in found.items() if why}


def read(pair: Pair, labels: Labels = MASKS, channels: int = 3) -> tuple[np.ndarray, np.ndarray | None]:
    """The photograph, (H, W, channels) uint8, and its mask, (H, W) float32: see `Labels.of`.

    A photograph of more than 8 bits is uint16.

    Raises:
        ImageError: one of them is not readable.
        InputError: the mask is of another size or not grey.
    """
    photograph = read_image(pair.image)
    if pair.halves:
        left, right = _halves(photograph, pair.image)
        return _pixels(left, channels), labels.of(right, pair.image)
    image = _pixels(photograph, channels)
    if pair.mask is None:
        return image, None
    mask = labels.read(pair.mask)
    if mask.shape != image.shape[:2]:
        raise InputError(_sizes(pair.mask, mask.shape[::-1], image.shape[1::-1]))
    return image, mask


def label(pair: Pair, labels: Labels) -> np.ndarray:
    """What is learned of a pair that has a mask, (H, W) float32: see `Labels.of`. Raises ImageError, InputError."""
    if pair.mask is None:
        raise InputError(f"{pair.image}: has no mask")
    picture = read_image(pair.mask)
    return labels.of(_halves(picture, pair.mask)[1] if pair.halves else picture, pair.mask)


def label_picture(pair: Pair) -> Image.Image:
    """The mask of a pair that has one, as the grey picture that it is. Raises ImageError, InputError."""
    if pair.mask is None or not pair.halves:
        return grey_image(pair.mask or pair.image)
    return one_channel(_halves(read_image(pair.mask), pair.mask)[1], pair.mask)


def _halves(picture: Image.Image, path: Path) -> tuple[Image.Image, Image.Image]:
    width, height = picture.size
    if width % 2:
        raise InputError(f"{path}: {width} pixels wide; two pictures side by side have an even width")
    return picture.crop((0, 0, width // 2, height)), picture.crop((width // 2, 0, width, height))


def _pixels(photograph: Image.Image, channels: int) -> np.ndarray:
    """(H, W, channels) uint8, or uint16 where it has more than 8 bits."""
    if channels == 3:
        deep = sixteen_bits(photograph)
        return np.asarray(to_rgb(photograph)) if deep is None else deep
    values, full = planes(photograph, channels)
    if values.dtype == np.uint8:
        return values
    return np.clip(values * (65535 / full), 0, 65535).round().astype(np.uint16)


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
        if pair.halves or _read_quietly(lambda: Image.open(mask).mode) not in labels.modes:
            label(pair, labels)
    except ImageError:
        return f"{mask}: {UNREADABLE}"
    except InputError as error:
        return str(error)
    return f"{mask}: {UNREADABLE}" if _damage(mask) else None


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
    return f"{mask}: the mask is {got[0]}x{got[1]}, its photograph {expected[0]}x{expected[1]}; save it at that size"
