"""Results as files: the kind follows the name, what the photograph said of itself stays with its pictures."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import OutputError
from ..photographs import to_rgb

__all__ = ["KINDS", "kept_of", "png", "save"]

# Pillow's name of each kind, and how it is written. All but JPEG give the pixels back as they were. PNG at level 4, not
# 6: 18 masks took 30 % less time and 5 % more bytes, six photographs 59 % less and 3 % more.
KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 4}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
COLOUR_SPACES = {
    **dict.fromkeys(("RGB", "RGBA", "P"), b"RGB "), **dict.fromkeys(("1", "L", "LA", "I;16", "I;16B"), b"GRAY"),
    "CMYK": b"CMYK",
}  # fmt: skip
# Modes that a kind holds; others become RGB, of which Pillow's WebP would clip 16 bits. TIFF holds all that is read.
PLAIN = {
    "PNG": ("1", "L", "LA", "P", "I;16", "I;16B", "RGB", "RGBA"),
    "WEBP": ("1", "L", "LA", "P", "RGB", "RGBA"),
}
IN_JPEG = ("L", "RGB", "CMYK")
SEGMENT = 65_000  # bytes of EXIF, or of XMP, that one segment of JPEG takes for certain
ORIENTATION, XMP = 0x0112, 700
# What would be wrong of an upright picture, as an attribute and as an element; and what shows what was cut away.
TURNED = rb'\stiff:Orientation="[^"]*"|<tiff:Orientation>[^<]*</tiff:Orientation>'
THUMBNAILS = (b"xmp:Thumbnails", b"xap:Thumbnails")
SHOWN = (b"Thumbnails", b"GImage:Data", b"GDepth:Data")
# Tags by which a TIFF file says how its own pixels are stored; TIFF 6.0, and where profiles and XMP are.
STORAGE = (
    *range(254, 260), 262, 263, 266, 273, *range(277, 281), 284, 292, 293, 317, 320, 322, 323, 324, 325, 330, 332, 338,
    339, 340, 341, 347, 529, 530, 531, 532, 700, 33723, 34377, 34675,
)  # fmt: skip


def kept_of(photograph: Image.Image) -> dict[str, bytes]:
    """What results keep of an upright photograph: ICC profile; EXIF and XMP without orientation and thumbnail."""
    profile = photograph.info.get("icc_profile")
    return {"icc_profile": profile or b"", "exif": _exif(photograph), "xmp": _xmp(photograph)}


def save(
    picture: Image.Image, to: Path | BinaryIO, suffix: str, kept: Mapping[str, bytes] | None = None, **how: Any
) -> None:
    """Writes `picture` as the kind that `suffix` stands for, one of `KINDS`.

    Args:
        kept: see `kept_of`; an ICC profile is written only into a picture of the colour space that it is for, so not
            CMYK's into the RGB picture that was made of it, and nothing into a JPEG file that is too long for it.
            None: nothing, as for masks.
        how: for Pillow's writer, instead of what `KINDS` says.

    Raises:
        OutputError: that kind of file cannot hold the picture.
    """
    kind, options = KINDS[suffix.lower()]
    if kind in PLAIN and picture.mode not in PLAIN[kind]:
        picture = to_rgb(picture)
    if kind == "JPEG" and picture.mode not in IN_JPEG:
        lost = "transparency" if picture.mode in ("LA", "RGBA", "PA") else f"pictures of mode {picture.mode}"
        raise OutputError(f"{suffix} files hold no {lost}; name a .png, .webp or .tiff with -o")
    options = {**options, **_writer_options(kind, picture.mode, kept or {})}
    bare = picture.copy() if picture.info else picture
    bare.info = {key: picture.info[key] for key in ("transparency",) if key in picture.info}
    bare.save(to, format=kind, **{**options, **how})


def _writer_options(kind: str, mode: str, kept: Mapping[str, bytes]) -> dict[str, Any]:
    """What of `kept` goes into a file of that kind, as options of Pillow's writer."""
    space = b"RGB " if kind == "WEBP" else COLOUR_SPACES.get(mode)  # WebP holds no grey pixels
    found: dict[str, Any] = {
        name: value
        for name, value in kept.items()
        if value and (value[16:20] == space if name == "icc_profile" else kind != "JPEG" or len(value) < SEGMENT)
    }
    if "xmp" in found and kind == "PNG":
        found["pnginfo"] = PngInfo()
        found["pnginfo"].add_itxt("XML:com.adobe.xmp", found.pop("xmp").decode("utf-8"))
    if "xmp" in found and kind == "TIFF":
        exif = Image.Exif()
        exif.load(found.get("exif", b""))
        exif[XMP] = found.pop("xmp")
        found["exif"] = exif
    return found


def png(picture: Image.Image, kept: Mapping[str, bytes] | None = None, **how: Any) -> bytes:
    """The picture as the bytes of a PNG file; see `save`."""
    buffer = io.BytesIO()
    save(picture, buffer, ".png", kept, **how)
    return buffer.getvalue()


def _exif(photograph: Image.Image) -> bytes:
    """EXIF for another picture of the same photograph; none where it is damaged.

    The thumbnail would show what was cut away.
    """
    try:
        exif = Image.Exif()
        exif.load(photograph.info.get("exif") or photograph.getexif().tobytes())
        for tag in (ORIENTATION, *STORAGE):
            exif.pop(tag, None)
        return exif.tobytes() if len(exif) else b""
    except Exception:
        return b""


def _xmp(photograph: Image.Image) -> bytes:
    """XMP for another picture of the same photograph, UTF-8; none in another encoding, or with pictures that stay."""
    packet = photograph.info.get("xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    try:
        packet.decode("utf-8")
    except UnicodeDecodeError:
        return b""
    for name in THUMBNAILS:
        head, opened, rest = packet.partition(b"<" + name)
        _, closed, tail = rest.partition(b"</" + name + b">")
        packet = (head + tail if closed else b"") if opened else packet
    return b"" if any(word in packet for word in SHOWN) else re.sub(TURNED, b"", packet)
