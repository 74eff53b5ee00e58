"""Packages that a few applications need, imported when they are."""

from types import ModuleType

from ..errors import MissingExtraError

__all__ = ["opencv", "pymatting"]


def opencv(what: str) -> ModuleType:
    """OpenCV, for `what`. Raises MissingExtraError."""
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingExtraError(what, "opencv-python-headless", "apps") from None
    return cv2


def pymatting(what: str) -> ModuleType:
    """PyMatting, for `what`; its first import on a machine compiles for a minute or more. Raises MissingExtraError."""
    try:
        import pymatting
    except ModuleNotFoundError:
        raise MissingExtraError(what, "pymatting", "apps") from None
    return pymatting
