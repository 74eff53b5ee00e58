"""Packages that a few applications need, imported when they are."""

from types import ModuleType

from ..errors import MissingExtraError

__all__ = ["COMPILING", "opencv", "pymatting", "scikit_image", "scipy"]

COMPILING: set[str] = set()  # packages that are being imported, which compiles them where that was not done yet


def opencv(what: str) -> ModuleType:
    """OpenCV, for `what`. Raises MissingExtraError."""
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingExtraError(what, "opencv-python-headless", "apps") from None
    return cv2


def pymatting(what: str) -> ModuleType:
    """PyMatting, for `what`; its first import on a machine compiles for a minute or more. Raises MissingExtraError."""
    COMPILING.add("PyMatting")
    try:
        import pymatting
    except ModuleNotFoundError:
        raise MissingExtraError(what, "pymatting", "apps") from None
    finally:
        COMPILING.discard("PyMatting")
    return pymatting


def scipy(what: str) -> ModuleType:
    """`scipy.ndimage`, for `what`. Raises MissingExtraError."""
    try:
        import scipy.ndimage
    except ModuleNotFoundError:
        raise MissingExtraError(what, "scipy", "apps") from None
    return scipy.ndimage


def scikit_image(what: str) -> ModuleType:
    """`skimage.transform`, for `what`. Raises MissingExtraError."""
    try:
        import skimage.transform
    except ModuleNotFoundError:
        raise MissingExtraError(what, "scikit-image", "apps") from None
    return skimage.transform
