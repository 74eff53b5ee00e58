"""`clothes`: a map of garments, and a mask for each kind."""

import copy
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import ArtifactError
from ..preprocessing import CLASS_NAMES
from ..weight_words import file_keys
from .base import Application, Result

__all__ = ["Clothes", "class_masks"]


def class_masks(labels: Image.Image, names: tuple[str, ...]) -> dict[str, Image.Image]:
    """A mask ("L", 0 or 255) for every class of a class map ("P"), by its name; `names` are in the classes' order."""
    indices = np.asarray(labels)
    return {name: Image.fromarray((indices == n).astype(np.uint8) * np.uint8(255)) for n, name in enumerate(names)}


@dataclass(frozen=True)
class Clothes(Application):
    """Class maps of clothes, in the colours of cloth-segmentation, and one mask for each garment.

    Of weights that name classes of their own: a map in their colours, and a mask for each class but the first.
    """

    name = "clothes"
    title = "Find clothes: a map of them, and a mask of each kind."
    examples = {
        "The map and the masks of one photograph": "u2zoo clothes person.jpg -o clothes.png",
        "Of every photograph in a folder": "u2zoo clothes photos -o clothes",
        "Classes of your own, from u2zoo train --classes": "u2zoo clothes street.jpg -o map.png --model my.safetensors",
    }
    model = "u2net_cloth_seg"
    plural = "class maps"
    beside = ("_upper_body", "_lower_body", "_full_body")
    suffixes = (".png",)
    photographic = False

    def knowing(self, classes: tuple[str, ...]) -> "Clothes":
        own = copy.copy(self)
        object.__setattr__(own, "beside", file_keys(classes[1:]) or self.beside)
        return own

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        """The map, and beside it `_upper_body`, `_lower_body`, `_full_body`. Raises ArtifactError: no class map."""
        from ..catalog import bundled, load_catalog

        if mask.mode != "P":
            raise ArtifactError(
                f"clothes needs weights that tell garments apart, such as {self.model}; these give masks"
            )
        names = mask.info.get(CLASS_NAMES) or load_catalog(bundled("catalog.toml"))[self.model].classes
        masks = class_masks(mask, names)
        pixels = {name: picture.histogram()[255] for name, picture in masks.items()}
        garments = dict(zip(file_keys(names[1:]), list(masks.values())[1:], strict=True))
        return Result({"": mask, **garments}, {"pixels": pixels})
