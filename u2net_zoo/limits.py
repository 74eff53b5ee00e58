"""What a file may ask for before it is believed: bytes, pixels, members of an archive, places on disk."""

import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import CheckpointError, OversizeError

__all__ = [
    "LARGEST",
    "PIXELS",
    "check_pixels",
    "check_size",
    "has_member",
    "inside",
    "member",
    "open_zip",
]

LARGEST = 768 << 20  # bytes; U²-Net in float64 has 352 million

# Of one photograph. The largest single exposures have 151 million (Phase One IQ4); decoded, 160 million need 640 MB.
# Pillow warns from 89 million on and refuses 179.
PIXELS = 160_000_000


def check_pixels(size: tuple[int, int], what: str) -> None:
    """Raises OversizeError for a photograph (W, H) of more than `PIXELS` pixels; called before it is decoded."""
    if size[0] * size[1] > PIXELS:
        raise OversizeError(f"{what}: too many pixels: {size[0]}x{size[1]}; up to {PIXELS // 10**6} million are read")


def check_size(size: int, what: str) -> None:
    """Raises CheckpointError for more bytes than any network of the family needs."""
    if size > LARGEST:
        raise CheckpointError(f"{what} has {size} bytes; no U²-Net needs more than {LARGEST}")


def inside(folder: Path, relative: str) -> Path:
    """`folder / relative`, which must stay in the folder even when links are followed.

    Raises:
        CheckpointError: it does not.
    """
    parts = PurePosixPath(relative)
    target = folder / parts
    leads_out = parts.is_absolute() or ".." in parts.parts or PureWindowsPath(relative).drive
    if not relative or "\0" in relative or "\\" in relative or leads_out:
        raise CheckpointError(f"refers to {relative!r}, which is not in its own folder; refused")
    if not target.resolve().is_relative_to(folder.resolve()):
        raise CheckpointError(f"refers to {relative!r}, a link out of its own folder; refused")
    return target


def open_zip(path: Path) -> zipfile.ZipFile:
    """The archive, when its members are of a sane size together.

    Raises:
        CheckpointError: damaged, or it would unpack to more than `LARGEST` bytes.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"damaged or not a zip archive ({error})") from None
    check_size(sum(info.file_size for info in archive.infolist()), "the unpacked archive")
    return archive


def has_member(path: Path, leaf: str) -> bool:
    """Whether `path` is a zip archive with a member of that name in whatever folder; False for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == leaf for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of the archive, checked against its checksum and its stated size; raises CheckpointError."""
    try:
        info = archive.getinfo(name)
        with archive.open(info) as stream:
            data = stream.read(info.file_size + 1)
    except KeyError:
        raise CheckpointError(f"the archive holds no {name!r}") from None
    except Exception as error:  # zipfile, zlib, lzma and bz2 each raise their own for damage
        raise CheckpointError(f"{name}: damaged in the archive ({type(error).__name__}: {error})") from None
    if len(data) != info.file_size:
        raise CheckpointError(f"{name}: unpacks to another size than the archive states")
    return data
