"""Converters of U²-Net checkpoints: formats, parity, and the main job.

    from converters import convert, FORMATS
    convert("u2netp.pth", "onnx,h5", "out")

Importing this package loads no framework and none of the formats; using them does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Format, Options, Predictor
    from .conversion import Artifact, convert
    from .registry import FORMATS

__all__ = ["FORMATS", "Artifact", "Format", "Options", "Predictor", "convert"]

_PLACES = {
    "FORMATS": "registry",
    "Artifact": "conversion",
    "Format": "base",
    "Options": "base",
    "Predictor": "base",
    "convert": "conversion",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
