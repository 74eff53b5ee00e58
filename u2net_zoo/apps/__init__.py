"""What people do with a mask: functions of Pillow images, and the applications that the commands and the server run."""

from .base import Application, Result
from .clothes import class_masks
from .composite import composite
from .crop import crop_box
from .cutout import cutout
from .highlight import highlight
from .matting import Trimap
from .objects import Box, drawn, objects
from .portrait import face_crop, find_face
from .registry import APPLICATIONS
from .replace import replace

__all__ = [
    "APPLICATIONS",
    "Application",
    "Box",
    "Result",
    "Trimap",
    "class_masks",
    "composite",
    "crop_box",
    "cutout",
    "drawn",
    "face_crop",
    "find_face",
    "highlight",
    "objects",
    "replace",
]
