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
    title = "Make greyscale masks of the main object."
    examples = {
        "A mask of one photograph": "u2zoo mask cat.jpg -o mask.png",
        "Black and white masks of a folder; go on if cut off": "u2zoo mask photos -o masks --threshold 0.5 --resume",
        "In a pipe": "u2zoo mask - -o - < cat.jpg > mask.png",
        "With a converted model": "u2zoo mask cat.jpg -o mask.png --model u2net_nano.onnx",
    }
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
    title = "Make masks of people."
    examples = {
        "A mask of the people in a photograph": "u2zoo human group.jpg -o people.png",
        "Of every photograph in a folder": "u2zoo human photos -o people",
    }
    model = "u2net_human_seg"


@dataclass(frozen=True)
class Sky(Mask):
    """Masks of the sky."""

    name = "sky"
    title = "Make masks of the sky."
    examples = {
        "A mask of the sky": "u2zoo sky beach.jpg -o sky.png",
        "Of every photograph in a folder and in its folders": "u2zoo sky photos -o skies --recursive",
    }
    model = "skyseg"
