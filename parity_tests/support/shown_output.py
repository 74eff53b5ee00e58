"""Whether an output is the one that a page shows: its words, and its figures as far as these repeat.

Runs of spaces and rules of dashes count as one space; `…` stands for anything in its line, alone for any lines.
Counts (bare whole numbers) and figures within a word (`320x320`, `float32`) are words. Sizes (B to GB) may differ by
20 %, but one right behind a time (`361 ms  192.7 MB`) is memory. IoUs may differ by 0.002. Memory, times and what else
was measured are free.
"""

import re
from collections.abc import Callable
from functools import partial

SIZE = 0.2
IOU = 0.002
FIGURE = re.compile(
    r"(?<![\w.,])(?P<number>[+-]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?)(?P<x>x(?!\w))?(?P<unit>\s?(?:[kMG]?B|ms|s|%|min|h)\b|%)?(?!\w)"
)
FREE = r"[+-]?(?:\d+(?:[.,]\d+)*(?:e[+-]?\d+)?|inf|nan)"
TIMES = ("s", "ms", "min", "h")
SCALE = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def lines_of(text: str) -> list[str]:
    plain = re.sub(r"[─━-]{4,}", " ", text.replace("\\", "/"))
    return [line for line in (" ".join(line.split()) for line in plain.splitlines()) if line]


def agree(shown: str, actual: str, *, figures: bool = True) -> bool:
    """Whether the page shows `actual`, or lines of it that follow each other; `figures=False`: all of these are of
    other weights, and free."""
    return _agree(["…", *lines_of(shown), "…"], lines_of(actual), figures)


def _agree(shown: list[str], actual: list[str], figures: bool) -> bool:
    if not shown:
        return not actual
    if shown[0] == "…":
        return any(_agree(shown[1:], actual[start:], figures) for start in range(len(actual) + 1))
    return bool(actual) and line_agrees(shown[0], actual[0], figures) and _agree(shown[1:], actual[1:], figures)


def line_agrees(shown: str, actual: str, figures: bool = True) -> bool:
    """One line of both, without runs of spaces."""
    checks: list[Callable[[str], bool]] = []
    pattern, end, before = "", 0, ""
    for figure in FIGURE.finditer(shown):
        between, unit = shown[end : figure.start()], (figure["unit"] or "").strip()
        pattern, end = pattern + _words(between), figure.end()
        if unit in SCALE and not (before in TIMES and between == " "):
            checks.append(partial(_is_size, _bytes(figure["number"], unit)))
            pattern += rf"(\S+ (?:{'|'.join(SCALE)}))"
        elif between.endswith("IoU ") and figures:
            checks.append(partial(_is_iou, float(figure["number"])))
            pattern += f"({FREE})"
        elif unit in SCALE:
            pattern += rf"\S+ (?:{'|'.join(SCALE)})"
        elif unit or figure["x"] or not figures or re.search(r"[.e]", figure["number"]):
            pattern += FREE + re.escape(figure[0][len(figure["number"]) :])
        else:
            pattern += re.escape(figure[0])
        before = unit
    found = re.fullmatch(pattern + _words(shown[end:]), actual)
    if found is None or not figures:
        return found is not None
    return all(check(text) for check, text in zip(checks, found.groups(), strict=True))


def _is_size(shown: float, actual: str) -> bool:
    return abs(_bytes(*actual.split()) - shown) <= SIZE * shown


def _is_iou(shown: float, actual: str) -> bool:
    return abs(float(actual) - shown) <= IOU


def _words(text: str) -> str:
    return ".*?".join(map(re.escape, text.split("…")))


def _bytes(number: str, unit: str) -> float:
    return float(number.replace(",", "")) * SCALE[unit]
