"""Does a file compute what a checkpoint means? Where does it part from it, and why?

>>> from converters.verify import Verifier
>>> from u2net_zoo.preprocessing import PROFILES
>>> result = Verifier(checkpoint, PROFILES["paper"], {}).verify(artifact)
>>> result.ok, result.takes, result.diagnosis
(True, 'normalised tensor', None)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .result import DECADES, PictureError, VerificationResult
    from .verifier import Verifier

__all__ = ["DECADES", "PictureError", "VerificationResult", "Verifier"]


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: a session asks this package what a file takes, and no more."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".verifier" if name == "Verifier" else ".result", __name__), name)
