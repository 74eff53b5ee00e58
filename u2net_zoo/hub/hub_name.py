"""`hf:OWNER/NAME[/FILE][@REVISION]`: how a repository of the Hugging Face Hub, or a file of it, is named."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from ..errors import InputError

__all__ = ["MAIN", "HubName", "check_path", "check_revision", "hub_name", "is_path"]

PREFIX = "hf:"
MAIN = "main"
# As the hub's own library has them. Without `--` in it, a repository has its folder OWNER--NAME of the cache to itself.
PART = r"[A-Za-z0-9](?:(?!--|\.\.)[\w.-]){0,95}(?<![.-])"
# Revisions with a slash are read as the hub's own library reads them; any other is written with %2F.
PULLED = r"refs/pr/\d+|refs/convert/[\w.-]+"
NAME = re.compile(rf"({PART}/{PART}(?<!\.git))(?:@({PULLED}|[^/]+))?(?:/(.+))?", re.ASCII)
SYNTAX = "hf:OWNER/NAME, hf:OWNER/NAME/FILE, either with @REVISION at its end; no -- or .. in OWNER and NAME"
# What some system has no file for; the devices are those of Windows, with any ending.
DEVICES = r"^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)"
NOT_IN_NAMES = re.compile(rf'[\x00-\x1f\x7f<>:"|?*\\]|[. ]$|{DEVICES}', re.IGNORECASE)


@dataclass(frozen=True)
class HubName:
    """What was named.

    Attributes:
        repo: `OWNER/NAME`.
        file: of the repository, or one of its folders; empty: whatever file of it is the network.
        revision: a branch, a tag or a commit.
    """

    repo: str
    file: str = ""
    revision: str = MAIN

    def __str__(self) -> str:
        revision = "" if self.revision == MAIN and "@" not in self.file else f"@{self._quoted()}"
        return f"{PREFIX}{self.repo}{f'/{self.file}' if self.file else ''}{revision}"

    def _quoted(self) -> str:
        """The revision so that it is read back as it is."""
        if re.fullmatch(PULLED, self.revision):
            return self.revision
        return re.sub("[%/@]", lambda found: quote(found[0], safe=""), self.revision)

    def of(self, file: str) -> "HubName":
        """The same repository and revision, another file."""
        return replace(self, file=file)


def hub_name(source: str | Path) -> HubName | None:
    """What `source` names on the hub; None where it does not begin with `hf:`.

    `hf:OWNER/NAME@REVISION/FILE` and `hf://` are understood too, as the hub's own library writes them.

    Raises:
        InputError: it begins so and goes on otherwise than it may.
    """
    text = str(source).replace(os.sep, "/")
    if not text.startswith(PREFIX):
        return None
    found = NAME.fullmatch(text.removeprefix(PREFIX).lstrip("/"))
    if found is None:
        raise InputError(f"{source}: no name of the Hugging Face Hub; allowed: {SYNTAX}")
    repo, revision, file = found[1], found[2] or "", found[3] or ""
    if not revision and "@" in file:
        file, _, revision = file.rpartition("@")
    name = HubName(repo, file.rstrip("/"), unquote(revision) or MAIN)
    if name.file:
        check_path(name.file, str(source))
    check_revision(name.revision, str(source))
    return name


def check_revision(revision: str, source: str) -> None:
    """Raises InputError where `revision` cannot be the name of a branch, a tag or a commit."""
    if re.search(r"\.\.|[\x00-\x20~^:?*\[\\]|^[-/]|/$|//|@\{", revision):
        raise InputError(f"{source}: {revision!r} is no revision; allowed: a branch, a tag or a commit")


def is_path(path: str) -> bool:
    """Whether every system has a file for `path` inside of a folder."""
    return not any(part in ("", ".", "..") or NOT_IN_NAMES.search(part) for part in path.split("/"))


def check_path(path: str, source: str) -> None:
    """Raises InputError where `path`, from the hub or from a person, would lie outside of a folder, or nowhere."""
    if not is_path(path):
        raise InputError(f"{source}: refused: {path!r} is no path inside a repository that every system can keep")
