"""Which weights artifacts were made of: as they say themselves, or as whoever publishes them says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from u2net_zoo.catalog import load_catalog
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import InputError, OptionError, U2ZooError
from u2net_zoo.files import shown_in
from u2net_zoo.preprocessing import PROFILES, Profile, get_profile
from u2net_zoo.sources import Located

from ..format import Format
from ..loading import format_of, open_source

__all__ = ["Origin", "artifacts_in", "origin_of", "source_named_by"]

HIDDEN = "."


@dataclass(frozen=True)
class Origin:
    """The weights that everything is held against.

    Attributes:
        name: as it was named: `u2netp`, `hf:…`, or a file's name.
        profile: how photographs are prepared for them.
    """

    name: str
    located: Located
    checkpoint: Checkpoint
    profile: Profile

    @property
    def licence(self) -> str | None:
        return self.located.licence or self.checkpoint.meta.get("licence")


def artifacts_in(paths: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """Every artifact that is named, or lies in a folder that is; with the text files that belong beside it.

    Raises:
        InputError: something there is neither, or a link to what may lie anywhere; or there is nothing.
    """
    listed = [child for path in paths for child in (_children(path) if _is_a_folder_of_files(path) else [path])]
    found: dict[Path, tuple[Path, ...]] = {}
    for path in dict.fromkeys(listed):
        companion = _companion_of(path, listed)
        if companion is None:
            fmt = format_of(path)
            _check_links(path, fmt, named=path in paths)
            found[path] = tuple(other for other in listed if _companion_of(other, listed) == path)
        elif path.is_symlink():
            raise _link(path)
    if not found:
        raise InputError(f"{', '.join(map(str, paths))}: holds nothing that `u2zoo convert` writes")
    return found


def _check_links(path: Path, fmt: Format, named: bool) -> None:
    """Raises InputError: a link that nobody named."""
    inside = shown_in(path) if path.is_dir() else fmt.files(path)
    for each in inside if named else (path, *inside):
        if each.is_symlink() and not (named and each == path):
            raise _link(each)


def _link(path: Path) -> InputError:
    return InputError(f"{path}: a link, to {path.readlink()}, is not published; put the file itself there")


def source_named_by(paths: Iterable[Path]) -> str:
    """The weights that the artifacts say they were made of, where the catalog or the hub has them.

    Raises:
        InputError: they do not say it, or not all say the same.
    """
    named: dict[str, Path] = {}
    for path in paths:
        if name := _named_in(path):
            named.setdefault(name, path)
    if len(named) == 1:
        return next(iter(named))
    said = " and ".join(f"{path.name} of {name}" for name, path in named.items())
    why = f"they were made of several ({said})" if named else "they do not name weights of the catalog or the hub"
    raise InputError(f"which weights are the files proved against? {why}; say it: --source WEIGHTS")


def origin_of(source: str | Path, profile: str | None) -> Origin:
    """The weights and their profile.

    Raises:
        OptionError: their profile is not known, and none is named. What `open_source` raises.
    """
    checkpoint, located = open_source(source, None, None)
    assert located is not None  # noqa: S101 - a source that is named lies somewhere
    chosen = profile or located.profile
    if chosen is None:
        raise OptionError(
            f"{source}: how photographs are prepared for these weights is not known, and the card has to say it;"
            f" name it: --profile {', '.join(PROFILES)}"
        )
    name = str(located.hub.name) if located.hub else located.entry.name if located.entry else located.path.name
    return Origin(name, located, checkpoint, get_profile(chosen))


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not child.name.startswith(HIDDEN))


def _is_a_folder_of_files(path: Path) -> bool:
    """A folder that is no artifact itself."""
    if not path.is_dir():
        return False
    try:
        format_of(path)
    except InputError:
        return True
    return False


def _companion_of(path: Path, listed: Sequence[Path]) -> Path | None:
    """The artifact that a text file stands beside; None for what is no such file."""
    for other in listed:
        if other == path or other.parent != path.parent or path.suffix in ("", *other.suffixes):
            continue
        try:
            companion = format_of(other).companion
        except InputError:
            continue
        if companion and path.name == f"{other.stem}{companion}":
            return other
    return None


def _named_in(path: Path) -> str | None:
    """A name of the catalog or of the hub; what cannot be read does not say any."""
    try:
        meta = format_of(path).read(path).meta
    except (U2ZooError, OSError, ImportError):
        return None
    if meta.get("source", "").startswith("hf:"):
        return meta["source"]
    for entry in load_catalog().values():
        if meta.get("sha256") in [source.sha256 for source in entry.sources if source.sha256]:
            return entry.name
    return None
