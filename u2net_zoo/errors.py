"""Every error that this project raises on purpose.

    U2ZooError                what was given, what is allowed, what to do next: one line
    ├── UsageError            the request cannot be met as it stands
    │   ├── UnknownNameError  no such format, profile, …: names the choices and the nearest one
    │   ├── OptionError       an option's value is wrong, or the format cannot honour it
    │   └── MissingExtraError a package is not installed: names the extra that brings it
    ├── InputError            a file that was given cannot be used
    │   ├── CheckpointError   … as the weights of a U²-Net
    │   ├── ArtifactError     … as a converted model
    │   ├── ImageError        … as a photograph
    │   │   └── OversizeError … with more pixels than are read
    │   ├── VideoError        … as a video
    │   └── DataError         … to learn from: photographs and masks that were checked
    ├── CatalogError          weights/catalog.toml, or the one that was named, is not valid
    ├── DownloadError         weights or a tool's packages could not be fetched, or are not what they should be
    ├── OutputError           a result cannot be written
    ├── TrainingError         a training run cannot go on
    ├── ExportError           a framework's exporter broke
    └── ParityError           a converted model does not compute what the checkpoint computes

`exit_code` is what `u2zoo` ends with: 2, but 1 for ExportError, ParityError and DataError.

AssumptionWarning is no error: weights do not say something, and what is usual was taken.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "ArtifactError",
    "AssumptionWarning",
    "CatalogError",
    "CheckpointError",
    "DataError",
    "DownloadError",
    "ExportError",
    "ImageError",
    "InputError",
    "MissingExtraError",
    "OptionError",
    "OutputError",
    "OversizeError",
    "ParityError",
    "TrainingError",
    "U2ZooError",
    "UnknownNameError",
    "UsageError",
    "VideoError",
    "install_hint",
    "one_line",
]

OURS = "u2net-zoo"


class U2ZooError(Exception):
    """Base of all errors of this project."""

    exit_code = 2


class AssumptionWarning(UserWarning):
    """Weights do not say something that their network depends on, and what is usual was taken."""


class UsageError(U2ZooError):
    """The request cannot be met as it stands."""


class UnknownNameError(UsageError):
    """A name that stands for nothing; the message lists the names that do."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        choices = sorted(known)
        near = difflib.get_close_matches(name, choices, n=1)
        hint = f" — did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}; {kind}s: {', '.join(choices)}{hint}")


class OptionError(UsageError):
    """An option's value is wrong, or the format cannot honour it."""


class MissingExtraError(UsageError):
    """A package that is not installed, and the extra that brings it."""

    def __init__(self, what: str, package: str, extra: str):
        self.what, self.package, self.extra = what, package, extra
        super().__init__(f"{what} needs the package {package!r}, which is not installed: {install_hint(extra)}")


def install_hint(extra: str) -> str:
    """The command that brings an extra: in a clone the versions that were measured together, else the packages."""
    if (Path(__file__).parents[1] / "constraints.txt").is_file():
        return f"pip install -c constraints.txt -e '.[{extra}]'"
    return f"pip install {' '.join(_packages(extra))}"


def _packages(extra: str) -> list[str]:
    """Names of what an extra of the installed package brings, and the extras in it: the package is on no index."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        rows = [re.match(r"([\w.-]+)(?:\[(.*?)\])?.*extra == ['\"](.*?)['\"]", row) for row in requires(OURS) or ()]
    except PackageNotFoundError:
        return [extra]
    found = [(row[1], row[2]) for row in rows if row and row[3] == extra]
    inner = [name for ours, others in found if ours == OURS for each in others.split(",") for name in _packages(each)]
    return list(dict.fromkeys([*(name for name, _ in found if name != OURS), *inner]))


class InputError(U2ZooError):
    """A file that was given cannot be used."""


class CheckpointError(InputError):
    """A file does not hold the weights of a U²-Net."""


class NotANetworkError(CheckpointError):
    """A file holds weights, and they are not those of a U²-Net."""


class ArtifactError(InputError):
    """A file does not hold a converted model that can be run."""


class ImageError(InputError):
    """A file does not hold a photograph."""


class VideoError(InputError):
    """A file does not hold a video, or not all of it."""


class OversizeError(ImageError):
    """A photograph has more pixels than are read; known before it is decoded."""


class DataError(InputError):
    """Photographs and masks that were checked are not what a run should learn from."""

    exit_code = 1


class CatalogError(U2ZooError):
    """The catalog is not valid; names the entry and the field."""


class DownloadError(U2ZooError):
    """Weights, or the packages of a tool, could not be fetched or are not as expected; nothing of them was kept."""


class OutputError(U2ZooError):
    """A result cannot be written where it should go."""


class TrainingError(U2ZooError):
    """A training run cannot go on: its loss is not a number."""


class ExportError(U2ZooError):
    """A framework's exporter broke; nothing was kept."""

    exit_code = 1


class ParityError(U2ZooError):
    """A converted model differs from its checkpoint by more than the format's bound; nothing was kept."""

    exit_code = 1


def one_line(error: BaseException, limit: int = 200) -> str:
    """`error`'s type and the first line of its text, at most `limit` characters."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", str(error))  # colours, of a terminal
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
