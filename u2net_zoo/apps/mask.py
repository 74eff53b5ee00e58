"""`mask`: the mask itself."""

from dataclasses import dataclass

from PIL import Image

from .base import Application, Result

__all__ = ["Mask"]


@dataclass(frozen=True)
class Mask(Application):
    """Greyscale masks, or class maps."""

    name = "mask"
    title = "Photographs in, greyscale PNG masks out, at the photographs' own size and the right way up."
    plural = "masks"
    suffixes = (".png",)
    photographic = False

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        return Result({"": mask})
