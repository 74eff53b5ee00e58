"""Converters of U²-Net checkpoints: formats, parity, and the main job.

    >>> from converters import FORMATS, Options, convert
    >>> artifact, = convert("u2net_nano", "safetensors", folder, options=Options(size=(64, 64)))
    >>> artifact.report.ok
    True
    >>> "onnx" in FORMATS
    True

Importing this package loads no framework and none of the formats; using them does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conversion import Artifact, convert
    from .format import Format
    from .options import Options
    from .predictor import Predictor
    from .registry import FORMATS

__all__ = ["FORMATS", "Artifact", "Format", "Options", "Predictor", "convert"]

_PLACES = {
    "FORMATS": "registry",
    "Artifact": "conversion",
    "Format": "format",
    "Options": "options",
    "Predictor": "predictor",
    "convert": "conversion",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
