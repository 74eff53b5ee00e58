"""How options are typed, shared by the commands."""

import re
from typing import Any

from ..errors import OptionError

__all__ = ["parse_batch", "parse_size", "parse_sizes"]

Size = tuple[int, int]
USUAL = (320, 320)  # the default of a range that holds it: what most of the family was trained at


def parse_size(text: str) -> tuple[int, int]:
    """`320` or `96x128` (height x width). Raises OptionError."""
    match = re.fullmatch(r"([0-9]+)(?:x([0-9]+))?", text.strip().lower())
    sides = tuple(int(side) for side in match.groups() if side) if match else ()
    if not sides or min(sides) < 1:
        raise OptionError(f"size {text!r}: allowed is N or HxW in whole numbers from 1, such as 320 or 96x128")
    return (sides[0], sides[-1])


def parse_sizes(text: str) -> dict[str, Any]:
    """`320`, `320,512x384` or `256..1024` as the fields `size`, `sizes` and `span` of `Options`. Raises OptionError."""
    if ".." in text:
        low, high = (parse_size(part) for part in text.split("..", 1))
        if low[0] > high[0] or low[1] > high[1] or low == high:
            raise OptionError(f"size {text!r}: a range goes from a lower size to a higher one, such as 256..1024")
        inside = all(a <= side <= b for a, side, b in zip(low, USUAL, high, strict=True))
        return {"size": USUAL if inside else low, "span": (low, high)}
    sizes = tuple(dict.fromkeys(parse_size(part) for part in text.split(",")))
    return {"size": sizes[0], "sizes": sizes if len(sizes) > 1 else ()}


def parse_batch(text: str) -> int:
    """`dynamic` (0) or a whole number from 1. Raises OptionError."""
    if text.strip().lower() == "dynamic":
        return 0
    if not re.fullmatch(r"[0-9]+", text.strip()) or int(text) < 1:
        raise OptionError(f"batch {text!r}: allowed are dynamic and whole numbers from 1")
    return int(text)
