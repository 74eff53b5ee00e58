"""A repository of the hub at one commit: its files and what it says of them; and what the cache keeps of that.

U2ZOO_HOME/hub/OWNER--NAME/refs.json            revision -> commit, as of the last time that the hub was asked
U2ZOO_HOME/hub/OWNER--NAME/COMMIT/commit.json   the list of its files
U2ZOO_HOME/hub/OWNER--NAME/COMMIT/files/…       those that were fetched, under their own names
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..catalog import home
from ..files import staged
from .hub_name import HubName, check_path

__all__ = ["Commit", "RemoteFile", "folder_of", "known_commit", "remember", "sha256_once"]

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub describes it.

    Attributes:
        sha256: of large files, which it keeps by their content.
        git: of the others: what git calls their content.
    """

    path: str
    bytes: int | None = None
    sha256: str | None = None
    git: str | None = None

    def is_intact(self, path: Path) -> bool:
        """Whether the file `path` has this content."""
        if not path.is_file() or self.bytes not in (None, path.stat().st_size):
            return False
        stamp = path.stat().st_mtime_ns
        if self.sha256:
            return sha256_once(path, stamp) == self.sha256
        return self.git is None or _git_name(path, stamp) == self.git


@dataclass(frozen=True)
class Commit:
    """What a repository holds.

    Attributes:
        commit: 40 hexadecimal digits.
        licence: as the repository's card says it; None where it says nothing.
        profile: how photographs are prepared, where the card says it in the way of `u2zoo publish`.
    """

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str | None = None
    profile: str | None = None

    @classmethod
    def of(cls, repo: str, document: Mapping[str, Any]) -> "Commit":
        """From what was kept, or gathered from the hub. Raises InputError, ValueError, KeyError or TypeError."""
        files = tuple(RemoteFile(**row) for row in document["files"])
        commit = str(document["commit"])
        if not COMMIT.fullmatch(commit):
            raise ValueError(f"no commit: {commit[:60]!r}")
        for file in files:
            if not isinstance(file.path, str):
                raise TypeError(f"no path: {file.path!r}")
            if file.sha256 is not None and not SHA256.fullmatch(file.sha256):
                raise ValueError(f"no sha256: {file.sha256[:80]!r}")
        return cls(repo, commit, files, document.get("licence"), document.get("profile"))

    @property
    def folder(self) -> Path:
        return folder_of(self.repo) / self.commit

    def has(self, path: str) -> bool:
        """Whether it has this file or folder; the empty path is the repository itself."""
        return not path or any(file.path == path or file.path.startswith(f"{path}/") for file in self.files)

    def place(self, path: str) -> Path:
        """Where a file or folder of it lies in the cache, or will lie. Raises InputError: it would lie elsewhere."""
        check_path(path, f"hf:{self.repo}")
        return self.folder / "files" / path


def folder_of(repo: str) -> Path:
    """What the cache has of a repository."""
    return home() / "hub" / repo.replace("/", "--")


def known_commit(name: HubName) -> Commit | None:
    """What the cache knows of the revision that is named; None before the first time that the hub was asked."""
    try:
        commit = _refs(name.repo).get(name.revision, name.revision)
        if not COMMIT.fullmatch(commit):
            return None
        text = (folder_of(name.repo) / commit / "commit.json").read_text(encoding="utf-8")
        return Commit.of(name.repo, json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remember(name: HubName, found: Commit) -> None:
    """Keeps the list of the commit, and that the revision meant it."""
    document = {**asdict(found), "files": [asdict(file) for file in found.files]}
    refs = {**_refs(name.repo), name.revision: found.commit}
    for path, content in ((found.folder / "commit.json", document), (folder_of(name.repo) / "refs.json", refs)):
        with staged(path) as file:
            file.write_text(json.dumps(content, indent=1), encoding="utf-8", newline="\n")


@functools.cache
def sha256_once(path: Path, modified: int) -> str:
    """sha256 of a file, computed once a process: a command asks for its weights more than once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _git_name(path: Path, modified: int) -> str:
    """What git calls the content of a file: sha1 of a header and the content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _refs(repo: str) -> dict[str, str]:
    try:
        found = json.loads((folder_of(repo) / "refs.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
