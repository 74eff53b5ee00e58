"""Which photographs are meant, and where their results go."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, OutputError
from ...system import path_key, slashed
from ..base import Application

__all__ = ["DEFAULT", "STREAM", "Job", "Source", "jobs_of", "photographs_of"]

STREAM = "-"  # standard input, or standard output
DEFAULT = ".png"


@dataclass(frozen=True, slots=True)
class Job:
    """One photograph and the file of its result, as texts: a job may be one of a million.

    Attributes:
        photograph: a path, or `STREAM`.
        target: a path, or `STREAM`.
        name: the photograph's own, with the folders below the one that was named, `/` between them.
        named: people chose the target's name themselves.
    """

    photograph: str
    target: str
    name: str
    named: bool = False

    def beside(self, key: str) -> Path:
        """The file for what is added under `key`: `a.png` and `_mask` give `a_mask.png`."""
        target = Path(self.target)
        return target.with_name(f"{target.stem}{key}{target.suffix}") if key else target


@dataclass(frozen=True, slots=True)
class Source:
    """A photograph, and where it lies in the folder that was named."""

    photograph: str
    stem: str  # where it lies in the folder that was named, without its suffix
    suffix: str

    @property
    def name(self) -> str:
        return self.stem + self.suffix


def jobs_of(sources: Sequence[str], out: str, application: Application, *, recursive: bool = False) -> list[Job]:
    """A job for every photograph that `sources` name: files, folders, globs, or `STREAM`.

    Several photographs, or those of a folder, go into the folder `out`, subfolders kept; two of one stem keep their
    suffixes in their results' names. One photograph goes to `out` when that is a file's name.

    Raises:
        InputError: nothing there. OutputError: `out` cannot take them, or two results would have one name.
    """
    folder, ending = _is_folder(out, application), application.suffix() + DEFAULT
    every = (item for source in sources for item in _find(source, out, recursive))
    found = list({item.photograph: item for item in every}.values())  # a photograph named twice is one
    if len(sources) == 1 and len(found) == 1 and not os.path.isdir(sources[0]):
        inside = os.path.join(out, os.path.basename(found[0].stem) + ending)
        return [Job(found[0].photograph, inside if folder else out, found[0].name, named=not folder)]
    if not folder:
        raise OutputError(f"{out}: the {application.plural} of several photographs go into a folder; name one with -o")
    if any(item.photograph == STREAM for item in found):
        raise InputError(f"{STREAM}: standard input is one photograph; name it alone")
    stems = Counter(path_key(item.stem) for item in found)
    names = (item.stem if stems[path_key(item.stem)] == 1 else item.name for item in found)
    jobs = [
        Job(item.photograph, os.path.join(out, name + ending), slashed(item.name))
        for item, name in zip(found, names, strict=True)
    ]
    _check_names(jobs, application)
    return jobs


def _is_folder(out: str, application: Application) -> bool:
    """Whether `out` means a folder. Raises OutputError for a kind of file that the application does not write."""
    suffix = Path(out).suffix.lower()
    if out == STREAM or (suffix in application.suffixes and not os.path.isdir(out)):
        return False
    if suffix and not os.path.isdir(out):
        from ...photographs import picture_suffixes

        if suffix in picture_suffixes():
            kinds = ", ".join(application.suffixes)
            what = "are PNG files" if application.suffixes == (DEFAULT,) else f"are files of {kinds}"
            raise OutputError(f"{out}: {application.plural} {what}; name a .png or a folder with -o")
    return True


def _find(source: str, out: str, recursive: bool) -> Iterator[Source]:
    if source == STREAM:
        yield Source(STREAM, "stdin", "")
    elif os.path.isdir(source):
        yield from _list_folder(source, out, recursive)
    elif os.path.exists(source):
        yield _source_of(source, os.path.basename(source))
    else:
        found = sorted(glob.glob(source, recursive=True)) if glob.has_magic(source) else []
        matches = [match for match in found if os.path.isdir(match) or _is_photograph(match)]
        if not matches:
            raise InputError(f"{source}: no such file or folder")
        for match in matches:
            yield from (_list_folder(match, out, recursive) if os.path.isdir(match) else [_source_of(match)])


def _is_photograph(path: str) -> bool:
    """Not so what macOS keeps of a photograph beside it."""
    from ...photographs import is_resource_fork

    return not is_resource_fork(path)


def _source_of(path: str, name: str = "") -> Source:
    stem, suffix = os.path.splitext(name or os.path.basename(path))
    return Source(path, stem, suffix)


def _list_folder(folder: str, out: str, recursive: bool) -> list[Source]:
    """As `photographs_of`; raises InputError where there are none."""
    found = photographs_of(folder, out, recursive)
    if not found:
        more = "" if recursive else "; --recursive looks into its folders too"
        raise InputError(f"{folder}: holds no photographs{more}")
    return found


def photographs_of(folder: str, out: str, recursive: bool) -> list[Source]:
    """A folder's photographs in the order of their names; with `recursive` those of its folders too, except results."""
    from ...photographs import picture_suffixes

    known, results = picture_suffixes(), os.path.realpath(out)
    found = (
        _source_of(path, os.path.relpath(path, folder))
        for path in _walk_folder(folder, recursive, results)
        if os.path.splitext(path)[1].lower() in known and _is_photograph(path)
    )
    return sorted(found, key=lambda item: item.photograph)


def _walk_folder(folder: str, recursive: bool, results: str) -> Iterator[str]:
    for at, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if recursive and not name.startswith(".") and os.path.realpath(os.path.join(at, name)) != results
        ]
        yield from (os.path.join(at, name) for name in files if os.path.isfile(os.path.join(at, name)))


def _check_names(jobs: Iterable[Job], application: Application) -> None:
    taken: dict[str, str] = {}
    for job in jobs:
        for key in ("", *application.beside):
            target = str(job.beside(key)) if key else job.target
            other = taken.setdefault(path_key(target), job.photograph)
            if other != job.photograph:
                raise OutputError(f"{target}: would be the result of both {other} and {job.photograph}; run them apart")
