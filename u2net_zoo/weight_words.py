"""What weights say of themselves beside their tensors: how photographs are prepared, and the classes that they name.

The words stand in the metadata of the file, under `KEYS`, and go from file to file with the weights. Whoever reads them
has a stranger's text in hand: what makes no sense is as if it were not there.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import OptionError

__all__ = [
    "COLOURS",
    "KEYS",
    "MOST",
    "Classes",
    "Colour",
    "classes_of",
    "file_keys",
    "named_classes",
    "names_in",
    "own_words",
    "usual_colours",
]

PROFILE, CLASSES, COLOURS = KEYS = ("profile", "classes", "colours")
MOST = 256  # classes: a class map has 8 bits
LONGEST = 64  # characters of a name
HEX = re.compile(r"#[0-9a-fA-F]{6}")

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Classes:
    """Names and colours of the classes, in the order of the network's channels."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    def to_words(self) -> dict[str, str]:
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in self.colours]
        return {CLASSES: json.dumps(self.names, ensure_ascii=False), COLOURS: json.dumps(colours)}


def classes_of(words: Mapping[str, str]) -> Classes | None:
    """The classes that a file's metadata names; without colours in it, with the usual ones. None: it names none."""
    names = _list_of_texts(words.get(CLASSES))
    if not 2 <= len(names) <= MOST or len(set(names)) < len(names) or not all(map(_can_be_shown, names)):
        return None
    colours = [_colour(text) for text in _list_of_texts(words.get(COLOURS)) if HEX.fullmatch(text)]
    return Classes(tuple(names), tuple(colours) if len(colours) == len(names) else usual_colours(len(names)))


def names_in(words: Mapping[str, str]) -> tuple[str, ...]:
    """Of the classes, none where no classes are named."""
    classes = classes_of(words)
    return classes.names if classes else ()


def own_words(words: Mapping[str, str]) -> dict[str, str]:
    """Those of a file's words that belong to the weights, and not to the file."""
    classes = classes_of(words)
    profile = words.get(PROFILE)
    named = {PROFILE: profile} if isinstance(profile, str) and re.fullmatch(r"[a-z][a-z-]{0,31}", profile) else {}
    if classes is None:
        return named
    return named | (classes.to_words() if words.get(COLOURS) else {CLASSES: classes.to_words()[CLASSES]})


def named_classes(names: Sequence[str], colours: Sequence[str] = ()) -> Classes:
    """What people type: names, and colours as `#rrggbb` or words; none: the usual ones. Raises OptionError."""
    twice = [name for name in names if names.count(name) > 1][:1]
    if twice or not 2 <= len(names) <= MOST:
        what = f"{twice[0]} twice" if twice else f"{len(names)} names"
        raise OptionError(
            f"classes {', '.join(names)}: {what}; allowed are 2 to {MOST} different names, background first"
        )
    wrong = [name for name in names if not re.fullmatch(r"[^\W][\w .+-]*", name) or len(name) > LONGEST]
    if wrong:
        raise OptionError(f"class {wrong[0]!r}: a name has letters, digits, spaces and . _ + -, {LONGEST} at most")
    taken: dict[str, str] = {}
    for name, key in zip(names, (_key(name).casefold() for name in names), strict=True):
        if key in taken:
            raise OptionError(f"classes {taken[key]} and {name} would share a file; capitals and spaces do not count")
        taken[key] = name
    if colours and len(colours) != len(names):
        raise OptionError(f"{len(colours)} colours for {len(names)} classes; one for each, or none")
    chosen = tuple(map(_colour_named, colours))
    return Classes(tuple(names), chosen or usual_colours(len(names)))


def _colour_named(text: str) -> Colour:
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(text)
    except ValueError:
        raise OptionError(f"colour {text!r}: allowed are #rrggbb and names such as red") from None
    return red, green, blue


def file_keys(names: Sequence[str]) -> tuple[str, ...]:
    """What each class adds to the name of a file; numbered where some file system would take two of them for one."""
    keys = tuple(map(_key, names))
    if len({key.casefold() for key in keys}) == len(keys):
        return keys
    return tuple(f"_{n}{key}" for n, key in enumerate(keys, start=1))


def _key(name: str) -> str:
    """The name may be from a file that came from anywhere."""
    return "_" + re.sub(r"[^\w.+-]", "_", name)


def usual_colours(count: int) -> tuple[Colour, ...]:
    """Those of the PASCAL VOC development kit's `VOClabelcolormap`: the index' bits, dealt to red, green and blue."""

    def channel(index: int, first: int) -> int:
        return sum(((index >> (3 * bit + first)) & 1) << (7 - bit) for bit in range(3))

    return tuple((channel(n, 0), channel(n, 1), channel(n, 2)) for n in range(count))


def _can_be_shown(name: str) -> bool:
    """Whether a terminal and a file take it: nothing that moves a cursor or ends a line, and no half of a character."""
    return 0 < len(name) <= LONGEST and name.isprintable()


def _list_of_texts(text: Any) -> list[str]:
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return []
    return values if isinstance(values, list) and all(isinstance(value, str) for value in values) else []


def _colour(text: str) -> Colour:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
