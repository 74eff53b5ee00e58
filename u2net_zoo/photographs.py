"""Photographs as they come: any kind of file that Pillow reads, HEIC, any mode, turned upright."""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from . import depth
from .errors import ImageError, OversizeError, U2ZooError, install_hint, one_line
from .limits import check_pixels

__all__ = ["is_resource_fork", "photographs_in", "picture_suffixes", "planes", "read_image", "to_rgb"]

BAND = 256  # rows that are converted at once
APPLE_DOUBLE = bytes.fromhex("00051607")  # RFC 1740
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
ORIENTATION = 0x0112  # of EXIF
LUMINANCE = (0.299, 0.587, 0.114)
ALPHA = 4  # channels: RGB and alpha
HEIC_SUFFIXES = {".heic", ".heif", ".hif"}


def read_image(
    source: str | Path | BinaryIO,
    *,
    kinds: Sequence[str] | None = None,
    check: Callable[[tuple[int, int], str], None] = check_pixels,
) -> Image.Image:
    """The photograph, turned upright as its EXIF orientation says; its `info` still holds what metadata it has.

    HEIC is read where pillow-heif is installed. Of a file with several pictures, the first. PNG and TIFF keep the 16
    bits of each channel for the network (see `depth`); other kinds of file have 8 where Pillow gives them several
    channels.

    Args:
        kinds: Pillow's names of the kinds of file that are read; None: all that it can.
        check: refuses a size (W, H), which the header tells, before anything is decoded.

    Raises ImageError: unreadable; and as `check` does, by default for more pixels than `limits.PIXELS`.
    """
    name = source if isinstance(source, str | Path) else "the photograph"
    try:
        with _open(source, kinds) as image:
            check(image.size, str(name))
            cut = depth.is_cut(image)
            orientation = _load_upright(image)
            if cut:
                depth.keep_values(image, depth.read_values(_bytes(source), image, orientation, str(name)))
            return image
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        if _start(source).startswith(APPLE_DOUBLE):
            raise ImageError(f"{name}: macOS's notes on a file (AppleDouble), no photograph; name the file") from None
        raise ImageError(f"{name}: not a photograph that can be read (empty, corrupt or of an unknown kind)") from None
    except Image.DecompressionBombError as error:
        raise OversizeError(f"{name}: too many pixels: {one_line(error)}") from None
    except (MemoryError, U2ZooError):
        raise
    except Exception as error:  # decoders raise EOFError, struct.error, zlib.error, TypeError … for damage
        raise ImageError(f"{name}: the photograph cannot be decoded: {one_line(error)}") from None


def _load_upright(image: Image.Image) -> int:
    """Decodes it and turns it; returns EXIF's orientation before. Damaged metadata: it is taken as it is stored."""
    orientation = 1
    with contextlib.suppress(Exception):  # before: Pillow turns a TIFF itself while it decodes
        orientation = image.getexif().get(ORIENTATION, 1)
    image.load()
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return orientation


def _bytes(source: str | Path | BinaryIO) -> bytes:
    if isinstance(source, str | Path):
        return Path(source).read_bytes()
    source.seek(0)
    return source.read()


def _open(source: str | Path | BinaryIO, kinds: Sequence[str] | None) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `check_pixels` is the limit here
        try:
            return Image.open(source, formats=_known(kinds))
        except UnidentifiedImageError:
            if not _is_heic(source):
                raise
            _register_heic(source if isinstance(source, str | Path) else "the photograph")
            return Image.open(source, formats=_known(kinds))


def _known(kinds: Sequence[str] | None) -> list[str] | None:
    """Those of which Pillow has a decoder now: it raises KeyError for others."""
    if kinds is None:
        return None
    Image.init()  # before it is first used it knows none
    return [kind for kind in kinds if kind in Image.OPEN]


def _is_heic(source: str | Path | BinaryIO) -> bool:
    """Whether the file starts as ISO/IEC 23008-12 says: a box `ftyp` with one of HEIC's brands."""
    start = _start(source)
    return start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS


def _start(source: str | Path | BinaryIO) -> bytes:
    """The first 12 bytes."""
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return file.read(12)
    source.seek(0)
    start = source.read(12)
    source.seek(0)
    return start


def _register_heic(source: object) -> None:
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        raise ImageError(f"{source}: HEIC needs the package 'pillow-heif': {install_hint('apps')}") from None
    register_heif_opener()


def picture_suffixes() -> set[str]:
    """Suffixes of the pictures that can be read; HDF5 and the like are only names of Pillow's plug-ins."""
    raster = set(Image.registered_extensions().values()) & set(Image.OPEN) - {"HDF5", "GRIB", "BUFR", "WMF", "EPS"}
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in raster} | HEIC_SUFFIXES


def is_resource_fork(path: str | Path) -> bool:
    """Whether a file is what macOS keeps of another one where the disk cannot (AppleDouble): `._x.jpg` of `x.jpg`."""
    return Path(path).name.startswith("._") and _start(path).startswith(APPLE_DOUBLE)


def photographs_in(folder: Path) -> list[Path]:
    """The files of a folder that are called as photographs are, sorted by name; hidden ones are left out."""
    known = picture_suffixes()
    found = (file for file in folder.iterdir() if file.suffix.lower() in known and not file.name.startswith("."))
    return sorted(file for file in found if file.is_file())


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB from any mode: 16-bit is scaled, palette and CMYK are converted, alpha is dropped as the sources do.

    White is `depth.full_value`. A photograph that is 8-bit RGB already is returned itself.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit and floating point to "L", in bands: in float64 a whole one would be eight times its pixels."""
    top = depth.full_value(image)
    levels = np.empty(image.size[::-1], np.uint8)
    for start in range(0, image.height, BAND):
        end = min(start + BAND, image.height)
        wide = np.asarray(image.crop((0, start, image.width, end)), np.float64)
        levels[start:end] = np.clip(wide / top * 255, 0, 255).round()
    return Image.fromarray(levels)


def planes(image: Image.Image, channels: int) -> tuple[np.ndarray, float]:
    """A photograph in any mode as a network with so many input channels sees it, and what full brightness is in it.

    (H, W, channels) uint8; of more than 8 bits what the file holds, where grey for 3 channels is (H, W, 1). Colours for
    one channel: their luminance, as Pillow's "L" has it (ITU-R 601-2). 4 channels: RGB and alpha, 8 bits.
    """
    deep = depth.values_of(image)
    if channels == ALPHA:
        shown = to_rgb(image) if image.mode.startswith("I") or image.mode == "F" else image
        return np.asarray(shown.convert("RGBA")), 255.0
    if deep is not None and channels == 1 and deep[0].shape[2] > 1:
        return deep[0] @ np.asarray(LUMINANCE)[:, None], deep[1]
    if deep is not None:
        return deep
    rgb = to_rgb(image)
    return (np.asarray(rgb.convert("L"))[..., None] if channels == 1 else np.asarray(rgb)), 255.0
