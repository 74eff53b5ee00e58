"""Every application by name. A new one is its own file and one line here."""

from .base import Application
from .mask import Mask

__all__ = ["APPLICATIONS"]

APPLICATIONS: dict[str, type[Application]] = {kind.name: kind for kind in (Mask,)}
