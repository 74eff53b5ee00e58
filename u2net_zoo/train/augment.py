"""Photograph and mask -> the network's input. Every draw follows from the run's seed, the epoch and the pair alone.

So a picture does not depend on how many workers load it, on how many processes share the batch, or on where a run was
interrupted.
"""

import os
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ..errors import MissingExtraError
from ..preprocessing import Profile, get_profile
from .recipe import Recipe

__all__ = ["Augment"]

Planes = tuple[np.ndarray, np.ndarray | None]


class Augment:
    """Callable: (image (H, W, C) uint8, mask (H, W) float32 or None, epoch, index) -> the same two, augmented.

    An image of more than 8 bits is uint16.

    The image comes out as (C, S, S) float32, normalised by the recipe's profile; the mask as (1, S, S) float32 of the
    values that came. S is `recipe.crop`, or `recipe.size` when `training` is off.
    """

    def __init__(self, recipe: Recipe, training: bool = True):
        self.recipe = recipe
        kind = recipe.augment if training else "evaluation"
        self.draw: Callable[..., Planes] = getattr(self, f"_{kind}")
        self.strong: Any = _strong(recipe.crop, recipe.in_ch) if kind == "strong" else None
        self.profile = get_profile(recipe.profile)

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, epoch: int, index: int) -> Planes:
        rng = np.random.default_rng((self.recipe.seed, epoch, index))
        image, mask = self.draw(image, mask, rng)
        return normalise(image, self.profile), None if mask is None else np.ascontiguousarray(mask[None], np.float32)

    def _evaluation(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Planes:
        return self._resize(image, mask, self.recipe.size)

    def _none(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Planes:
        return self._resize(image, mask, self.recipe.crop)

    def _authors(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Planes:
        size, crop = self.recipe.size, self.recipe.crop
        image, mask = self._resize(image, mask, size)
        turned = rng.random() >= 0.5
        top, left = rng.integers(0, size - crop + 1, 2)
        window = slice(top, top + crop), slice(left, left + crop)
        flip: Any = {"vertical": np.s_[::-1], "horizontal": np.s_[:, ::-1], "none": np.s_[:]}[self.recipe.flip]

        def cut(plane: np.ndarray) -> np.ndarray:
            return (plane[flip] if turned else plane)[window]

        return cut(image), None if mask is None else cut(mask)

    def _strong(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Planes:
        self.strong.set_random_seed(int(rng.integers(2**31)))
        full = 255 if image.dtype == np.uint8 else 1
        image = image if image.dtype == np.uint8 else image.astype(np.float32) / np.float32(65535)
        planes = {"image": image} if mask is None else {"image": image, "mask": mask}
        drawn = self.strong(**planes)
        pixels = drawn["image"].astype(np.float64) / full
        return pixels.reshape(*pixels.shape[:2], -1), drawn.get("mask")

    def _resize(self, image: np.ndarray, mask: np.ndarray | None, size: int) -> Planes:
        """A square; the mask by the nearest pixel, so that it stays as hard as it was."""
        square = self.profile.resize(image, (size, size), float(np.iinfo(image.dtype).max))
        return square, None if mask is None else cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)


def normalise(image: np.ndarray, profile: Profile) -> np.ndarray:
    """(H, W, C) in [0, 1] to (C, H, W) float32: divided by its maximum where the profile does, then mean and std."""
    scaled = image / max(float(image.max()), 1e-6) if profile.by_maximum else image
    return np.ascontiguousarray(((scaled - profile.mean) / profile.std).transpose(2, 0, 1), np.float32)


def _strong(size: int, channels: int) -> Any:
    """Scale, side, turn, colour and noise, by albumentations; light alone where the channels are not RGB."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the package index for a newer one otherwise
    try:
        import albumentations as A
    except ModuleNotFoundError:
        raise MissingExtraError("augment 'strong'", "albumentations", "train") from None
    light = (A.RandomBrightnessContrast(0.3, 0.3, p=0.7),)
    colour = (A.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05, p=0.7), A.ToGray(p=0.05))
    return A.Compose(
        [
            A.RandomResizedCrop((size, size), scale=(0.4, 1.0), ratio=(0.7, 1.4), mask_interpolation=cv2.INTER_NEAREST),
            A.HorizontalFlip(),
            A.Rotate((-15, 15), border_mode=cv2.BORDER_REFLECT_101, p=0.3),
            *(colour if channels == 3 else light),
            A.OneOf([A.GaussianBlur((3, 5)), A.GaussNoise((0.01, 0.05))], p=0.3),
        ]
    )
