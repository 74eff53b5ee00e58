"""Text for people: tables, progress bars and results that fit the terminal. The one place where Rich is used.

Rich takes what stands in square brackets for markup, `a[b].onnx` and `.[onnx]` too. Here all text is shown as it is.
"""

import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Whole", "folded", "print_table", "progress_bar", "width_of"]

INDENT = 4


class Whole(str):
    """A text that is never broken, because people copy it: a path, a command."""

    __slots__ = ()


def width_of(stream: TextIO) -> int | None:
    """Columns that there are: COLUMNS, else the terminal's; None for a file or a pipe, which take any line."""
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def folded(parts: Iterable[object], width: int | None, indent: int = INDENT) -> str:
    """The parts two spaces apart on a line; where that is longer than `width`, on further lines under an indent.

    A part moves to the next line as a whole; one that is too long for a line is broken at its spaces, unless it is
    `Whole` or a path. What follows a heading within the indent stays beside it.
    """
    texts = list(parts)
    if width is None:
        return "  ".join(map(str, texts))
    lines: list[str] = []
    for part in texts:
        text = str(part)
        joined = f"{lines[-1]}  {text}" if lines else text
        if len(joined) <= width:
            lines[-1:] = [joined]
            continue
        heading = len(lines) == 1 and len(lines[0]) <= indent - 2
        start = lines.pop().ljust(indent) if heading else " " * indent if lines else ""
        lines += [start + text] if isinstance(part, Whole | os.PathLike) else _wrapped(text, width, start, indent)
    return "\n".join(lines)


def _wrapped(text: str, width: int, start: str, indent: int) -> list[str]:
    room = max(width, indent + 20)  # a terminal of a few columns breaks lines itself
    keep = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(text, room, initial_indent=start, subsequent_indent=" " * indent, **keep)  # type: ignore[arg-type]


def print_table(stream: TextIO, headings: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Writes a table; its first column is never broken. Without a terminal and COLUMNS it is 80 columns wide."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    first, *others = (Text(heading, style="bold") for heading in headings)
    columns = [Column(first, no_wrap=True), *(Column(heading, overflow="fold") for heading in others)]
    look: dict[str, Any] = {
        "box": box.SIMPLE_HEAD,
        "show_edge": False,
        "padding": (0, 1, 0, 0),
        "title_justify": "left",
    }
    table = Table(*columns, title=Text(title) if title else None, **look)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=stream).print(table)


def progress_bar(stream: TextIO, *columns: str) -> "Progress":
    """A progress bar on a terminal, and nothing anywhere else.

    Args:
        columns: `spinner`, `bar`, `count`, `bytes`, `elapsed`, `remaining`, or a text in which `{task.…}` is filled in.
    """
    from rich import progress
    from rich.console import Console

    kinds: dict[str, Any] = {
        "spinner": progress.SpinnerColumn,
        "bar": progress.BarColumn,
        "count": progress.MofNCompleteColumn,
        "bytes": progress.DownloadColumn,
        "elapsed": progress.TimeElapsedColumn,
        "remaining": progress.TimeRemainingColumn,
    }
    made = (kinds[name]() if name in kinds else progress.TextColumn(name, markup=False) for name in columns)
    console = Console(file=stream)
    return progress.Progress(
        *made, console=console, transient=True, disable=not console.is_terminal,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
