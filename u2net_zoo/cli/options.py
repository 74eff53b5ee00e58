"""How options are typed, shared by the commands."""

import re

from ..errors import OptionError

__all__ = ["parse_batch", "parse_size"]


def parse_size(text: str) -> tuple[int, int]:
    """`320` or `96x128` (height x width). Raises OptionError."""
    match = re.fullmatch(r"([0-9]+)(?:x([0-9]+))?", text.strip().lower())
    sides = tuple(int(side) for side in match.groups() if side) if match else ()
    if not sides or min(sides) < 1:
        raise OptionError(f"size {text!r}: allowed is N or HxW in whole numbers from 1, such as 320 or 96x128")
    return (sides[0], sides[-1])


def parse_batch(text: str) -> int:
    """`dynamic` (0) or a whole number from 1. Raises OptionError."""
    if text.strip().lower() == "dynamic":
        return 0
    if not re.fullmatch(r"[0-9]+", text.strip()) or int(text) < 1:
        raise OptionError(f"batch {text!r}: allowed are dynamic and whole numbers from 1")
    return int(text)
