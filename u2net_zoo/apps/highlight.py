"""`highlight`: the object in colour, the rest grey or darker."""

from dataclasses import dataclass, field

from PIL import Image

from ..errors import OptionError
from .base import Result
from .refine import RefinedApplication, as_rgb, check_share, foreground_of, own_alpha

__all__ = ["Highlight", "highlight"]


def highlight(image: Image.Image, mask: Image.Image, *, grey: bool = True, dim: float = 0.0) -> Image.Image:
    """The photograph with everything but the object grey and/or darker, "RGB", or "RGBA" where it has transparency.

    Args:
        image: in any mode. mask: "L", or a class map "P": everything but the background then.
        grey: take the colour out of the rest.
        dim: the share of its brightness that the rest loses, from 0 to 1.
    """
    photograph = as_rgb(image)
    rest = photograph.convert("L").convert("RGB") if grey else photograph
    rest = rest.point([round(level * (1 - dim)) for level in range(256)] * 3) if dim else rest
    result = Image.composite(photograph, rest, foreground_of(mask))
    if (own := own_alpha(image)) is not None:
        result.putalpha(own)
    return result


@dataclass(frozen=True)
class Highlight(RefinedApplication):
    """Pictures in which the object stands out."""

    name = "highlight"
    title = "Keep the main object in colour and turn the rest grey or dim."
    examples = {
        "A grey background": "u2zoo highlight cat.jpg -o colour.png",
        "A darker background that keeps its colours": "u2zoo highlight cat.jpg -o dimmed.png --no-grey --dim 0.6",
    }

    grey: bool = field(default=True, metadata={"help": "Take the colour out of the rest."})
    dim: float = field(default=0.0, metadata={"help": "Share of its brightness that the rest loses, from 0 to 1."})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("--dim", self.dim)
        if not self.grey and self.dim == 0:
            raise OptionError("neither grey nor dimmed: nothing would stand out; name a --dim above 0, such as 0.6")

    def make(self, image: Image.Image, mask: Image.Image) -> Result:
        picture = highlight(image, mask, grey=self.grey, dim=self.dim)
        return Result({"": picture}, {"empty": mask.getbbox() is None})
