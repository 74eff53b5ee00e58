"""`cutout`: the object alone, on nothing."""

from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from .base import Result
from .foreground import object_colours
from .matting import Trimap, check_matting, matted
from .refine import RefinedApplication, as_rgb, foreground_of, with_own_alpha

__all__ = ["Cutout", "cutout"]


def cutout(
    image: Image.Image,
    mask: Image.Image,
    *,
    matting: str | None = None,
    clean: bool = True,
    trimap: Trimap = Trimap(),  # noqa: B008 - frozen
) -> Image.Image:
    """The object with a transparent background, "RGBA" of the photograph's size.

    Args:
        image: in any mode; its own transparency is multiplied into the mask's.
        mask: "L", or a class map "P": everything but the background then.
        matting: how edges are refined first: `closed-form`, `guided` or not at all; see `matting.matted`. Where
            closed-form has no answer the mask stays as it is, as in rembg.
        clean: the object's own colours at its soft edge (see `foreground.object_colours`) and black where nothing is
            seen, so that no halo of the old background stays. False: the photograph's colours everywhere. That is
            rembg's `putalpha` pixel by pixel; its other way, the default there, multiplies these colours by alpha
            although PNG does not, so that edges darken, and is not offered.
        trimap: for closed-form.

    Closed-form alpha is exactly that of rembg 2.0.86 for photographs of at most 2^19 pixels, for larger ones what
    `matting.matted` makes of it; the colours at the edge are estimated another way (2.6 to 2.9 of 255 apart on three
    photographs, 2026-11-21).

    Raises:
        OptionError, MissingExtraError: see `matting.matted`.
    """
    return _cut(image, foreground_of(mask), matting, clean, trimap)[0]


def _cut(
    image: Image.Image, mask: Image.Image, matting: str | None, clean: bool, trimap: Trimap
) -> tuple[Image.Image, bool]:
    """The cut-out, and whether the matting had an answer."""
    check_matting(matting, trimap)
    photograph = as_rgb(image)
    alpha = matted(photograph, mask, matting, trimap) if matting else mask
    answered, alpha = alpha is not None, alpha or mask
    result = object_colours(photograph, alpha) if clean else photograph.copy()
    result.putalpha(with_own_alpha(alpha, image))
    return result, answered


@dataclass(frozen=True)
class Cutout(RefinedApplication):
    """Transparent pictures of the object."""

    name = "cutout"
    title = "Cut out the main object: everything else becomes transparent."
    examples = {
        "Cut out one photograph": "u2zoo cutout cat.jpg -o cat.png",
        "A folder, with fine edges for hair and fur": "u2zoo cutout photos -o cutouts --matting closed-form",
        "As WebP": "u2zoo cutout cat.jpg -o cat.webp",
    }
    plural = "cut-outs"
    suffixes = (".png", ".webp", ".tif", ".tiff")

    matting: str | None = field(
        default=None, metadata={"help": "Refine edges such as hair: closed-form (slow, fine) or guided (quick)."}
    )
    clean: bool = field(
        default=True, metadata={"help": "Estimate the object's own colours at its edge, so that no halo stays."}
    )
    foreground_threshold: int = field(
        default=240, metadata={"help": "Closed-form matting: grey levels above this are certainly the object."}
    )
    background_threshold: int = field(
        default=10, metadata={"help": "Closed-form matting: grey levels below this are certainly background."}
    )
    erode: int = field(
        default=10, metadata={"help": "Closed-form matting: pixels by which both certain regions are worn away."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_matting(self.matting, self.trimap())

    def trimap(self) -> Trimap:
        return Trimap(self.foreground_threshold, self.background_threshold, self.erode)

    def make(self, image: Image.Image, mask: Image.Image) -> Result:
        picture, answered = _cut(image, mask, self.matting, self.clean, self.trimap())
        facts: dict[str, Any] = {"empty": mask.getbbox() is None}
        if not answered:
            facts["warning"] = "the mask has no certain object or no certain background: its edges were not refined"
        return Result({"": picture}, facts)
