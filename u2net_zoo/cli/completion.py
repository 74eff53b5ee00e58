"""What the shell is offered for a word that is being typed: names only, no framework is loaded for them.

>>> formats("onnx,sav")
['onnx,savedmodel']
"""

import os
import shlex

from converters.registry import FORMATS

from ..conventions import INPUTS
from ..devices import AUTO, DEVICES

__all__ = ["catalog_names", "devices", "formats", "inputs", "profiles", "runtimes", "sources"]

ALL = "all"


def formats(incomplete: str) -> list[str]:
    """Of a list by commas: every format that it does not name yet."""
    before, comma, begun = incomplete.rpartition(",")
    named = [name.strip() for name in before.split(",")]
    return [f"{before}{comma}{name}" for name in (*FORMATS, ALL) if name.startswith(begun) and name not in named]


def sources(incomplete: str) -> list[tuple[str, str]]:
    """Names of the catalog, each with its purpose, and files. None, where no name fits: the shell then offers files."""
    names = catalog_names(incomplete)
    return names + [(file, "") for file in _files(incomplete)] if names else []


def catalog_names(incomplete: str) -> list[tuple[str, str]]:
    """Names of the catalog, each with its purpose."""
    from ..catalog import load_catalog

    return [(name, entry.purpose) for name, entry in load_catalog().items() if name.startswith(incomplete)]


def profiles(incomplete: str) -> list[str]:
    from ..preprocessing import KNOWN_PROFILES

    return _beginning(incomplete, *KNOWN_PROFILES)


def runtimes(incomplete: str) -> list[str]:
    return _beginning(incomplete, AUTO, "torch", *FORMATS)


def devices(incomplete: str) -> list[str]:
    return _beginning(incomplete, AUTO, *DEVICES)


def inputs(incomplete: str) -> list[str]:
    return _beginning(incomplete, *INPUTS)


def _beginning(incomplete: str, *names: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str) -> list[str]:
    """Of this folder, as they are typed; a folder with a slash. None that would need quotes."""
    try:
        with os.scandir() as entries:
            found = [f"{entry.name}{'/' if entry.is_dir() else ''}" for entry in entries]
    except OSError:
        return []
    shown = (name for name in found if name.startswith(incomplete) and (incomplete or not name.startswith(".")))
    return sorted(name for name in shown if shlex.quote(name) == name)
