"""What rembg makes of a photograph and its mask, pixel by pixel, with its options: for those who come from there."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from ..errors import OptionError
from ..preprocessing import Profile, to_rgb
from ..rembg_models import fed_as_rembg
from .bands import WORKING
from .base import Application, Result
from .clothes import class_masks
from .foreground import object_colours
from .matting import Trimap, closed_form, matted
from .optional import pymatting
from .refine import as_rgb, postprocessed

if TYPE_CHECKING:
    from ..session import MaskSession

__all__ = ["Removal"]

GARMENTS = ("background", "upper", "lower", "full")  # the classes of u2net_cloth_seg in their order
ATTIRE = "attire"  # all garments together


@dataclass(frozen=True)
class Removal(Application):
    """rembg 2.0.86's `remove`: its options, by the names that it has in Python; `short` are those of its server.

    The pixels are rembg's. Where it estimates colours or alpha (`alpha_matting`, `decontaminate`) they are so for
    photographs of at most 2^19 pixels; larger ones are worked on at that size, as `cutout` does, and not in gigabytes.
    A greyscale photograph is matted as any other; rembg only cleans its edge.

    Attributes:
        feeding: how the weights are fed, whatever they are called; None: as `fed_as_rembg` finds.
    """

    name = "remove"
    title = "Make of photographs what rembg's server makes of them: its parameters, its pixels."
    plural = "cut-outs"
    photographic = False  # as rembg: neither colour profile nor EXIF
    feeding: ClassVar[Profile | None] = None

    alpha_matting: bool = field(
        default=False, metadata={"short": "a", "help": "Refine edges such as hair by closed-form matting."}
    )
    alpha_matting_foreground_threshold: int = field(
        default=240, metadata={"short": "af", "help": "Matting: grey levels above this are certainly the object."}
    )
    alpha_matting_background_threshold: int = field(
        default=10, metadata={"short": "ab", "help": "Matting: grey levels below this are certainly background."}
    )
    alpha_matting_erode_size: int = field(
        default=10, metadata={"short": "ae", "help": "Matting: pixels by which both certain regions are worn away."}
    )
    only_mask: bool = field(default=False, metadata={"short": "om", "help": "The mask instead of the object."})
    post_process_mask: bool = field(
        default=False, metadata={"short": "ppm", "help": "Remove specks and give the mask a smooth, hard edge."}
    )
    decontaminate: bool = field(
        default=False, metadata={"short": "dc", "help": "Estimate the object's own colours at its edge."}
    )
    vitmatte: bool = field(default=False, metadata={"short": "vm", "help": "Not here; true is refused."})
    bgcolor: str | None = field(
        default=None, metadata={"short": "bgc", "help": "What stands behind the object: R,G,B,A, each 0 to 255."}
    )
    putalpha: bool = field(
        default=False, metadata={"help": "In extras: keep the photograph's colours, the mask is their alpha."}
    )
    cloth_category: str | None = field(
        default=None, metadata={"help": "In extras: of u2net_cloth_seg upper, lower, full or attire alone."}
    )

    def __post_init__(self) -> None:
        if self.vitmatte:
            raise OptionError(
                "vitmatte (vm): that network is not here; alpha_matting (a) refines edges, or leave it out"
            )
        if self.cloth_category not in (None, *GARMENTS[1:], ATTIRE):
            allowed = ", ".join((*GARMENTS[1:], ATTIRE))
            raise OptionError(f"cloth_category {self.cloth_category!r}: allowed are {allowed}")
        if self.alpha_matting:  # without it rembg looks at none of the three
            self.trimap()
        self.colour()

    def trimap(self) -> Trimap:
        return Trimap(
            self.alpha_matting_foreground_threshold,
            self.alpha_matting_background_threshold,
            self.alpha_matting_erode_size,
        )

    def colour(self) -> tuple[int, ...] | None:
        """(R, G, B, A) of `bgcolor`; opaque where three numbers came. Raises OptionError."""
        if not self.bgcolor:
            return None
        numbers = tuple(int(n) for n in re.findall(r"[0-9]{1,3}", self.bgcolor))
        if not re.fullmatch(r"\s*[0-9]{1,3}\s*(,\s*[0-9]{1,3}\s*){2,3}", self.bgcolor) or max(numbers) > 255:
            raise OptionError(f"bgcolor (bgc) {self.bgcolor!r}: allowed are R,G,B,A of 0 to 255, such as 255,0,0,255")
        return numbers if len(numbers) == 4 else (*numbers, 255)

    @classmethod
    def fed(cls, session: "MaskSession", source: str) -> "MaskSession":
        return fed_as_rembg(session, source, cls.feeding)

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        picture = _stacked([self._remove(image, each) for each in self._masks(mask)])
        if (colour := self.colour()) and not self.only_mask:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, colour), picture)
        return Result({"": picture})

    def _masks(self, mask: Image.Image) -> list[Image.Image]:
        """The mask; of a map of garments one for each kind, or for the one that is asked for."""
        if mask.mode != "P":
            if self.cloth_category:
                raise OptionError(f"cloth_category {self.cloth_category!r}: goes with the model u2net_cloth_seg")
            return [mask]
        if self.cloth_category == ATTIRE:
            return [Image.fromarray((np.asarray(mask) > 0).astype(np.uint8) * np.uint8(255))]
        masks = class_masks(mask, GARMENTS)
        return [masks[name] for name in ([self.cloth_category] if self.cloth_category else GARMENTS[1:])]

    def _remove(self, image: Image.Image, mask: Image.Image) -> Image.Image:
        mask = postprocessed(mask) if self.post_process_mask else mask
        if self.only_mask:
            return mask
        if self.alpha_matting:
            found = _matted_cutout(image, mask, self.trimap())
            if found is not None:
                return found
        if self.putalpha:
            return _with_alpha(as_rgb(image).copy(), mask)
        return _clean_cutout(image, mask) if self.alpha_matting or self.decontaminate else _cutout(image, mask)


def _cutout(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The photograph times the mask, its own transparency too: colours grow dark towards the edge, as rembg's do."""
    if image.mode.startswith("I") or image.mode == "F":
        image = to_rgb(image)
    return Image.composite(image, Image.new("RGBA", image.size, 0), mask)


def _clean_cutout(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The object's own colours, as far as the edge's can be estimated, and the mask as their alpha."""
    photograph = as_rgb(image)
    if _is_large(photograph):
        return _with_alpha(object_colours(photograph, mask), mask)
    return _estimated(photograph, np.asarray(mask) / 255.0)


def _matted_cutout(image: Image.Image, mask: Image.Image, trimap: Trimap) -> Image.Image | None:
    """The same by alpha that closed-form matting finds; None where it has no answer."""
    photograph = as_rgb(image)
    if _is_large(photograph):
        alpha = matted(photograph, mask, "closed-form", trimap)
        return None if alpha is None else _with_alpha(object_colours(photograph, alpha), alpha)
    found = closed_form(photograph, trimap.of(np.asarray(mask)))
    return None if found is None else _estimated(photograph, found)


def _estimated(photograph: Image.Image, alpha: np.ndarray) -> Image.Image:
    """ "RGBA" with colours by T. Germer et al., Fast Multi-Level Foreground Estimation, ICPR 2020, as PyMatting has it.

    Args:
        alpha: (h, w) float64 in [0, 1].
    """
    colours = pymatting("decontaminate (dc)").estimate_foreground_ml(np.asarray(photograph) / 255.0, alpha)
    return Image.fromarray(np.clip(np.dstack([colours, alpha]) * 255, 0, 255).astype(np.uint8))


def _with_alpha(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    picture.putalpha(alpha)
    return picture


def _is_large(photograph: Image.Image) -> bool:
    return photograph.width * photograph.height > WORKING


def _stacked(pictures: list[Image.Image]) -> Image.Image:
    """One below the other."""
    if len(pictures) == 1:
        return pictures[0]
    width, height = pictures[0].size
    whole = Image.new(pictures[0].mode, (width, height * len(pictures)))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (0, number * height))
    return whole
