"""Every application by name. A new one is its own file and one line here."""

from .base import Application
from .clothes import Clothes
from .composite import Composite
from .crop import Crop
from .cutout import Cutout
from .highlight import Highlight
from .mask import Human, Mask, Sky
from .objects import Boxes
from .portrait import Portrait
from .replace import Replace

__all__ = ["APPLICATIONS"]

KINDS: tuple[type[Application], ...] = (
    Mask, Cutout, Replace, Boxes, Highlight, Crop, Human, Clothes, Sky, Portrait, Composite,
)  # fmt: skip
APPLICATIONS: dict[str, type[Application]] = {kind.name: kind for kind in KINDS}
