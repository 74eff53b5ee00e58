"""What people name as SOURCE: a file, or weights of the catalog or of the Hugging Face Hub (`hf:OWNER/NAME`), which are
fetched when they are first used."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import BUNDLED
from .catalog import Entry, bundled, load_catalog
from .errors import InputError
from .hub.hub_name import hub_name
from .transport import Progress, silent

if TYPE_CHECKING:
    from .hub.hub_files import HubModel

__all__ = ["Located", "file_of", "in_catalog", "known_profile", "locate", "on_hub", "profile_of"]


@dataclass(frozen=True)
class Located:
    """Where the weights are.

    Attributes:
        path: a file or folder that exists.
        entry: their entry in the catalog; None for any other.
        hub: what the Hugging Face Hub says of them, where they are from there.
    """

    path: Path
    entry: Entry | None = None
    hub: "HubModel | None" = None

    @property
    def name(self) -> str | None:
        """What files made from it are called, where that is not its file's name."""
        return self.entry.name if self.entry else self.hub.stem if self.hub else None

    @property
    def profile(self) -> str | None:
        """The profile that belongs to the weights, where that is known."""
        known = self.entry or self.hub
        return known.profile if known else None

    @property
    def licence(self) -> str | None:
        """The licence of the weights, where the catalog or their repository says it."""
        known = self.entry or self.hub
        return known.licence if known else None


def in_catalog(source: str | Path) -> Entry | None:
    """The entry that `source` names; None when it is a file, which wins, or nothing that is known."""
    return None if Path(source).exists() else load_catalog().get(str(source))


def on_hub(source: str | Path, *, progress: Progress = silent) -> "HubModel | None":
    """The model of the hub that `source` names, fetched where it is not here; None when it names a file, or no such.

    Raises:
        InputError, DownloadError, OutputError, MissingExtraError: see `hub_files.fetch_from_hub`.
    """
    name = None if Path(source).exists() else hub_name(source)
    if name is None:
        return None
    from .hub.hub_files import fetch_from_hub

    return fetch_from_hub(name, progress=progress)


def file_of(source: str | Path) -> Path:
    """The file that a name of the hub stands for, fetched where it is not here; any other source itself."""
    hub = on_hub(source)
    return hub.path if hub else Path(source)


def known_profile(source: str | Path) -> str | None:
    """The profile that the catalog or the hub knows for a name; None for a file."""
    known = in_catalog(source) or on_hub(source)
    return known.profile if known else None


def profile_of(source: str | Path, kind: str) -> str:
    """The name of the profile of a source: what is known for a name; a file is taken for weights like the entry `kind`.

    No file is opened: a profile in its graph is not seen, and wins when the file is run.
    """
    if (hub := on_hub(source)) and hub.profile:
        return hub.profile
    entry = None if Path(source).exists() else _entry(str(source))
    entry = entry or _entry(kind)
    return entry.profile if entry else "paper"


def _entry(name: str) -> Entry | None:
    """Of the catalog in use, or of the one that comes with the project."""
    return load_catalog().get(name) or load_catalog(bundled("catalog.toml")).get(name)


def locate(source: str | Path, *, progress: Progress = silent) -> Located:
    """`source` as a file: one of that name wins, then the bundled weights, the catalog's, the hub's, cached or fetched.

    Raises:
        InputError: none of these. DownloadError: the weights could not be fetched.
        MissingExtraError: they are the hub's, and its library is not installed.
    """
    path = Path(source)
    if path.exists():
        return Located(path)
    if str(source) == BUNDLED:
        return Located(bundled(f"{BUNDLED}.safetensors"), load_catalog().get(BUNDLED))
    if entry := in_catalog(source):
        from .downloads import fetch

        return Located(fetch(entry, progress=progress).path, entry)
    if hub := on_hub(source, progress=progress):
        return Located(hub.path, hub=hub)
    near = difflib.get_close_matches(path.stem, load_catalog(), n=1)
    hint = f", nor is it in the catalog — did you mean {near[0]!r}?" if near else ""
    raise InputError(f"{source}: no such file{hint}")
