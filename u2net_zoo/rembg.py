"""rembg's Python functions over this project's sessions, for programs that were written for rembg 2.0.86.

    from u2net_zoo.rembg import new_session, remove

    session = new_session("u2netp")
    cutout = remove(Path("photo.jpg").read_bytes(), session=session)  # a PNG file's bytes

Bytes give bytes, a Pillow picture gives one, an array gives an array, as there. The default network is the bundled one:
rembg's own is of another family. What is not here is refused and never left out silently.
"""

import io
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps

from . import BUNDLED
from .apps.removal import Removal
from .apps.saving import png
from .devices import CPU
from .errors import ImageError, OptionError
from .photographs import read_image
from .rembg_models import CUSTOM, check_name, fed_as_rembg
from .session import MaskSession

__all__ = ["new_session", "remove"]

Data = TypeVar("Data", bytes, Image.Image, np.ndarray)


def new_session(
    model_name: str = BUNDLED, *, model_path: str | Path | None = None, device: str = CPU, **others: Any
) -> MaskSession:
    """A session by rembg's name of a model, fed as rembg feeds it; weights are fetched when they are first used.

    Args:
        model_path: for `u2net_custom` and `dis_custom`: weights or an artifact of any format, anywhere.
        device: see `Session`; rembg has `providers` for it.

    Raises:
        UsageError: no such model, or an option that is not here. InputError, DownloadError: see `Session`.
    """
    from . import Session

    check_name(model_name)
    if others:
        raise OptionError(f"{', '.join(others)}: not here; allowed are model_path and device, such as device='cuda'")
    if (model_name in CUSTOM) != (model_path is not None):
        raise OptionError(f"model_path {model_path}: goes with {' and '.join(CUSTOM)}, not with {model_name!r}")
    profile = "isnet" if model_name == "dis_custom" else None  # its size, before it is fed as rembg does
    session = Session(model_path or model_name, profile=profile, device=device)
    return fed_as_rembg(session, str(model_path or model_name), CUSTOM.get(model_name))


def remove(
    data: Data,
    alpha_matting: bool = False,
    alpha_matting_foreground_threshold: int = 240,
    alpha_matting_background_threshold: int = 10,
    alpha_matting_erode_size: int = 10,
    session: MaskSession | None = None,
    only_mask: bool = False,
    post_process_mask: bool = False,
    decontaminate: bool = False,
    vitmatte: bool = False,
    vitmatte_model: str | None = None,
    bgcolor: tuple[int, ...] | None = None,
    force_return_bytes: bool = False,
    **extras: Any,
) -> Data | bytes:
    """The object without its background: what rembg's `remove` returns; see `Removal`.

    Args:
        data: a photograph: the bytes of a file, a Pillow picture, or an array (h, w[, 3 or 4]) uint8.
        session: of `new_session`, or any other; by default one of the bundled network, anew each time.
        bgcolor: (R, G, B, A) behind the object.
        force_return_bytes: the bytes of a PNG file, whatever came.
        extras: `putalpha`, and `cloth_category` or `cc`.

    Raises:
        ImageError: no photograph. OptionError: an option is wrong, or not here.
        MissingExtraError: a package that an option needs is not installed.
    """
    cloth = extras.pop("cloth_category", None) or extras.pop("cc", None)
    putalpha = bool(extras.pop("putalpha", False))
    if extras:
        raise OptionError(f"{', '.join(extras)}: not here; allowed are putalpha, cloth_category and cc")
    application = Removal(
        alpha_matting, alpha_matting_foreground_threshold, alpha_matting_background_threshold,
        alpha_matting_erode_size, only_mask, post_process_mask, decontaminate, vitmatte or vitmatte_model is not None,
        None if bgcolor is None else ",".join(map(str, bgcolor)), putalpha, cloth,
    )  # fmt: skip
    image = _opened(data)
    picture = application.after(image, (session or new_session()).mask(image)).pictures[""]
    if force_return_bytes or isinstance(data, bytes):
        return png(picture)
    return np.asarray(picture) if isinstance(data, np.ndarray) else picture


def _opened(data: bytes | Image.Image | np.ndarray) -> Image.Image:
    """The photograph, upright. Raises ImageError."""
    if isinstance(data, bytes):
        return read_image(io.BytesIO(data))
    if isinstance(data, Image.Image):
        return ImageOps.exif_transpose(data)
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or data.ndim not in (2, 3) or data.shape[2:] not in ((), (3,), (4,)) or not data.size:
            raise ImageError(f"array {data.shape} {data.dtype}: allowed is (h, w), (h, w, 3) or (h, w, 4) uint8")
        return Image.fromarray(data)
    raise ImageError(f"{type(data).__name__}: allowed are the bytes of a file, a Pillow picture or a NumPy array")
