"""What people do with a mask: functions of Pillow images, and the applications that the commands and the server run.

    >>> from u2net_zoo.apps import crop_box, cutout, objects
    >>> cutout(photograph, mask).mode
    'RGBA'
    >>> [box.area > 100 for box in objects(mask)]
    [True]

Functions take a photograph, its mask, or both; `thresholded` and `postprocessed` are the options that refine masks.
`human` and `sky` have no function: they are the masks of other weights, `Session("u2net_human_seg")` and
`Session("skyseg")`. So is `portrait`: of a `face_crop`, by `Session("u2net_portrait", profile="portrait-demo")`.
"""

from .base import Application, Result
from .clothes import class_masks
from .composite import composite
from .crop import crop, crop_box
from .cutout import cutout
from .highlight import highlight
from .matting import Trimap
from .objects import Box, drawn, objects
from .portrait import face_crop, find_face
from .refine import postprocessed, thresholded
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
    "crop",
    "crop_box",
    "cutout",
    "drawn",
    "face_crop",
    "find_face",
    "highlight",
    "objects",
    "postprocessed",
    "replace",
    "thresholded",
]
