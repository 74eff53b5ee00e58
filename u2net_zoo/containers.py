"""What a file is, by its first bytes: endings are conventions, people rename files, and downloads fail."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .errors import CheckpointError

__all__ = ["SAFETENSORS", "TORCH", "Content", "Signature", "content_of", "refuse_no_model"]

HEAD = 512  # bytes that are looked at
WEB_PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)", re.I)
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}


@dataclass(frozen=True)
class Content:
    """What of a file is looked at: its first bytes, and the names of its members where it is a zip archive."""

    head: bytes
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signature:
    """By what a file of one kind is known.

    Attributes:
        start: what its first bytes match.
        members: ends of names of which a zip archive of this kind has one each; the kind with most of them is meant.
    """

    start: re.Pattern[bytes] | None = None
    members: tuple[str, ...] = ()

    def fits(self, content: Content) -> bool:
        if content.members:
            return bool(self.members) and all(any(n.endswith(end) for n in content.members) for end in self.members)
        return self.start is not None and self.start.match(content.head) is not None


TORCH = Signature(re.compile(rb"\x80[\x02-\x05]"), ("/data.pkl",))  # a pickle, or a zip archive with one
SAFETENSORS = Signature(re.compile(rb".{5}\0\0\0\s*\{", re.S))  # eight bytes of length, then JSON


def content_of(path: Path) -> Content:
    head = _head(path)
    if not head.startswith(b"PK\x03\x04"):
        return Content(head)
    try:
        with zipfile.ZipFile(path) as archive:
            return Content(head, tuple(archive.namelist()))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return Content(head)


def refuse_no_model(path: Path) -> None:
    """Raises CheckpointError for what stands in a model's place: a failed download, a packed file."""
    if not path.is_file():
        return
    head = _head(path)
    reason = _reason(path, head)
    if reason:
        raise CheckpointError(f"{path}: {reason}")


def _reason(path: Path, head: bytes) -> str | None:
    if not head:
        return "the file is empty; a download that broke off? Fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file that it stands for; in its clone: git lfs pull"
    if WEB_PAGE.match(head):
        return "a web page, not a model: a download that failed, or that a page has to confirm; fetch it in a browser"
    if head[257:262] == b"ustar":
        return f"a tar archive; unpack it (tar -xf {path.name}) and name a file of it"
    packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
    return f"packed by {packed}; unpack it and name the model" if packed else None


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(HEAD)
