"""Does a file compute what a checkpoint means? Where does it part from it, and why?

>>> from converters.verify import Verifier
>>> from u2net_zoo.preprocessing import PROFILES
>>> result = Verifier(checkpoint, PROFILES["paper"], {}).verify(artifact)
>>> result.ok, result.takes, result.diagnosis
(True, 'normalised tensor', None)
"""

from .result import DECADES, PictureError, VerificationResult
from .verifier import Verifier

__all__ = ["DECADES", "PictureError", "VerificationResult", "Verifier"]
