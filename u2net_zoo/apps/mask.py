"""`mask`: the mask itself; and the masks of weights that find one kind of thing: `human`, `sky`."""

from dataclasses import dataclass

from PIL import Image

from ..errors import OptionError
from .base import Result
from .refine import RefinedApplication

__all__ = ["Human", "Mask", "Sky"]


@dataclass(frozen=True)
class Mask(RefinedApplication):
    """Greyscale masks, or class maps."""

    name = "mask"
    title = "Photographs in, greyscale PNG masks out, at the photographs' own size and the right way up."
    plural = "masks"
    suffixes = (".png",)
    photographic = False

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        if mask.mode != "P":
            return super().after(image, mask)
        if self.threshold is not None or self.postprocess:
            raise OptionError("--threshold and --postprocess: a map of classes has no grey levels; leave them out")
        return Result({"": mask})

    def make(self, image: Image.Image, mask: Image.Image) -> Result:
        return Result({"": mask})


@dataclass(frozen=True)
class Human(Mask):
    """Masks of people, by the weights of the authors' u2net_human_seg_test.py."""

    name = "human"
    title = "Photographs in, masks of the people in them out."
    model = "u2net_human_seg"


@dataclass(frozen=True)
class Sky(Mask):
    """Masks of the sky."""

    name = "sky"
    title = "Photographs in, masks of their sky out."
    model = "skyseg"
