"""The Kotlin file that is written beside a TFLite file of pictures: Bitmap in, mask out, on Android."""

import re
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from converters.embedded import EmbeddedPreprocessing
from converters.formats.source_text import in_comment, utf16_escapes

__all__ = ["kotlin_file", "kotlin_name"]

SPECIAL = '\\"$'  # in a string: escapes, its end, and what puts a value into it


def kotlin_name(stem: str) -> str:
    """`u2netp` -> `U2NetpMask.kt`; what Kotlin cannot have in a name becomes an underscore."""
    return f"{_class_name(stem)}.kt"


def _class_name(stem: str) -> str:
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    name = f"_{name}" if name[:1].isdigit() else name
    return f"{name[:1].upper()}{name[1:]}".replace("U2net", "U2Net") + "Mask"


def kotlin_file(stem: str, embedded: EmbeddedPreprocessing, size: tuple[int, int], names: Sequence[str] = ()) -> str:
    """The file's text, for a model that takes pictures of `size` (H, W); `names`: of its classes, if it tells some."""
    template = Template((files(__package__) / "Mask.kt.txt").read_text(encoding="utf-8"))
    meaning = "white is the paper" if embedded.profile.invert else "white is the object"
    meaning = "each pixel's class" if embedded.classes > 1 else meaning
    plain = embedded.classes == 1 and not embedded.profile.stretch
    return template.substitute(
        file=kotlin_name(stem),
        model=in_comment(f"{stem}.tflite"),
        asset=_string(f"{stem}.tflite"),
        type=_class_name(stem),
        meaning=meaning,
        ending=" The mask is the network's answer, not stretched to 0..255." if plain else "",
        height=size[0],
        width=size[1],
        fit="true" if embedded.profile.letterbox else "false",
        smooth="false" if embedded.classes > 1 else "true",
        names=_names(names) if len(names) == embedded.classes else "",
    )


def _names(names: Sequence[str]) -> str:
    texts = ", ".join(map(_string, names))
    return f"    /** What the numbers in a mask stand for, from 0 on. */\n    val classNames = listOf({texts})\n\n"


def _string(text: str) -> str:
    """`text` as Kotlin's string literal."""
    inside = "".join(f"\\{char}" if char in SPECIAL else utf16_escapes(char) for char in text)
    return f'"{inside}"'
