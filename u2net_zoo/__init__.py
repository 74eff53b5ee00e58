"""A model zoo and converter for the U²-Net family.

    >>> from u2net_zoo import Session, load_torch
    >>> Session("u2net_nano").mask(photograph).size == photograph.size
    True
    >>> len(load_torch("u2net_nano", outputs="all").eval().state_dict()) > 600
    True

Importing this package loads no framework; the functions do.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Session, load_keras, load_torch

__all__ = ["BUNDLED", "Session", "__version__", "load_keras", "load_torch"]

__version__ = "0.1.0"
BUNDLED = "u2net_nano"  # the weights that come with the project: they need no network


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
