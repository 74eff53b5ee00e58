"""What people name as SOURCE: a file, or weights of the catalog, which are fetched when they are first used."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from . import BUNDLED
from .catalog import Entry, bundled, load_catalog
from .errors import InputError
from .transport import Progress, silent

__all__ = ["Located", "in_catalog", "locate", "profile_of"]


@dataclass(frozen=True)
class Located:
    """Where the weights are.

    Attributes:
        path: a file or folder that exists.
        entry: their entry in the catalog; None for a file that was named itself.
    """

    path: Path
    entry: Entry | None = None

    @property
    def stem(self) -> str:
        """What files made from it are called."""
        return self.entry.name if self.entry else self.path.stem

    @property
    def profile(self) -> str | None:
        """The profile that belongs to the weights, where that is known."""
        return self.entry.profile if self.entry else None


def in_catalog(source: str | Path) -> Entry | None:
    """The entry that `source` names; None when it is a file, which wins, or nothing that is known."""
    return None if Path(source).exists() else load_catalog().get(str(source))


def profile_of(source: str | Path, kind: str) -> str:
    """The name of the profile of a source: a catalog name's own; a file is taken for weights like the entry `kind`.

    Nothing is opened: a profile in the file's graph is not seen, and wins when the file is run.
    """
    entry = None if Path(source).exists() else _entry(str(source))
    entry = entry or _entry(kind)
    return entry.profile if entry else "paper"


def _entry(name: str) -> Entry | None:
    """Of the catalog in use, or of the one that comes with the project."""
    return load_catalog().get(name) or load_catalog(bundled("catalog.toml")).get(name)


def locate(source: str | Path, *, progress: Progress = silent) -> Located:
    """`source` as a file: one of that name wins, then the bundled weights, then the catalog's, cached or fetched.

    Raises:
        InputError: neither. DownloadError: the catalog's weights could not be fetched.
    """
    path = Path(source)
    if path.exists():
        return Located(path)
    if str(source) == BUNDLED:
        return Located(bundled(f"{BUNDLED}.safetensors"), load_catalog().get(BUNDLED))
    if entry := in_catalog(source):
        from .downloads import fetch

        return Located(fetch(entry, progress=progress).path, entry)
    near = difflib.get_close_matches(path.stem, load_catalog(), n=1)
    hint = f", nor is it in the catalog — did you mean {near[0]!r}?" if near else ""
    raise InputError(f"{source}: no such file{hint}")
