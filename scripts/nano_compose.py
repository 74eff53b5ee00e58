"""Pictures for distillation: strongly augmented photographs, cut-outs pasted on other scenes, and drawn shapes.

A teacher labels whatever comes out, so nothing here needs a mask of its own. Everything follows from one seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import albumentations as A
import cv2
import numpy as np

__all__ = ["Composer", "CutOut"]

T = TypeVar("T")

MIX = {"photograph": 0.45, "paste": 0.35, "shapes": 0.20}
SCALE = (0.3, 1.0)  # part of a photograph that a crop covers
FILL = (0.02, 0.7)  # part of a photograph that a usable cut-out covers


@dataclass(frozen=True)
class CutOut:
    """image: (H, W, 3) uint8, alpha: (H, W) float32 in [0, 1], both cut to the object's box."""

    image: np.ndarray
    alpha: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, mask: np.ndarray) -> "CutOut | None":
        """The object of a photograph; None where the mask holds no object of a sensible size."""
        solid = mask > 0.5
        if not FILL[0] < solid.mean() < FILL[1] or mask[solid].mean() < 0.8:
            return None
        ys, xs = np.nonzero(solid)
        box = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
        return cls(image[box], mask[box].astype(np.float32))


class Composer:
    """Draws pictures of one size.

    Args:
        photographs: (H, W, 3) uint8 each.
        cutouts: objects to paste.
        size: side of the square pictures.
        seed: two composers of the same seed draw the same pictures.
        mix: how often each kind is drawn; adds up to 1.
        scale: least and largest part of a photograph that is cut out of it.
    """

    def __init__(
        self,
        photographs: Sequence[np.ndarray],
        cutouts: Sequence[CutOut],
        size: int,
        seed: int,
        mix: Mapping[str, float] = MIX,
        scale: tuple[float, float] = SCALE,
    ):
        self.mix = mix
        self.photographs = photographs
        self.cutouts = cutouts
        self.size = size
        self.rng = np.random.default_rng(seed)
        self.frame = _frame(size, seed, scale)
        self.look = _look(seed)

    def __call__(self) -> np.ndarray:
        """One picture, (size, size, 3) uint8."""
        kind = self.rng.choice(list(self.mix), p=list(self.mix.values()))
        picture = getattr(self, kind)()
        return self.look(image=picture)["image"]

    def photograph(self) -> np.ndarray:
        return self.frame(image=self._pick(self.photographs))["image"]

    def paste(self) -> np.ndarray:
        picture = self._background()
        for _ in range(1 + (self.rng.random() < 0.3)):
            picture = self._paste(picture, self._pick(self.cutouts))
        return picture

    def shapes(self) -> np.ndarray:
        picture = self._clutter(self._background())
        for _ in range(self.rng.integers(1, 4)):
            alpha = cv2.GaussianBlur(self._outline(), (0, 0), self.rng.uniform(0.4, 1.5))[..., None]
            picture = (picture * (1 - alpha) + self._texture() * alpha).astype(np.uint8)
        return picture

    def _pick(self, things: Sequence[T]) -> T:
        return things[self.rng.integers(len(things))]

    def _background(self) -> np.ndarray:
        if self.rng.random() < 0.35:
            return self._texture()
        picture = self.frame(image=self._pick(self.photographs))["image"]
        if self.rng.random() < 0.6:  # out of focus, so that what lies there does not compete
            picture = cv2.GaussianBlur(picture, (0, 0), self.rng.uniform(1, 8) * self.size / 320)
        return picture

    def _texture(self) -> np.ndarray:
        """A gradient between two colours, with noise of a random grain."""
        ends = self.rng.uniform(0, 255, (2, 3)) * self.rng.uniform(0.2, 1)
        angle = self.rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-1 : 1 : self.size * 1j, -1 : 1 : self.size * 1j]
        t = ((np.cos(angle) * x + np.sin(angle) * y) / 2 + 0.5).clip(0, 1)[..., None]
        grain = self.rng.normal(0, 1, (*[self.rng.integers(4, self.size)] * 2, 3))
        noise = cv2.resize(grain, (self.size, self.size)) * self.rng.uniform(0, 30)
        return (ends[0] * t + ends[1] * (1 - t) + noise).clip(0, 255).astype(np.uint8)

    def _clutter(self, picture: np.ndarray) -> np.ndarray:
        """Sometimes a few thin lines, which are not the object."""
        picture = picture.copy()
        for _ in range(self.rng.integers(1, 12) if self.rng.random() < 0.3 else 0):
            ends = self.rng.uniform(-0.1, 1.1, (2, 2)) * self.size
            colour = self.rng.uniform(0, 160, 3).tolist()
            begin, end = ends.astype(int).tolist()
            cv2.line(picture, begin, end, colour, int(self.rng.integers(1, 3)), cv2.LINE_AA)
        return picture

    def _outline(self) -> np.ndarray:
        """A filled ellipse or polygon, (size, size) float32 in {0, 1}."""
        canvas: Any = np.zeros((self.size, self.size), np.float32)
        centre = self.rng.uniform(0.25, 0.75, 2) * self.size
        radius = self.rng.uniform(0.06, 0.35, 2) * self.size
        if self.rng.random() < 0.4:  # a mast, a rod, a bird far away
            sides = [self.rng.uniform(0.015, 0.05), self.rng.uniform(0.1, 0.45)]
            radius = np.asarray(self.rng.permutation(sides)) * float(self.size)
        if self.rng.random() < 0.4:
            axes = [int(r) for r in radius]
            cv2.ellipse(canvas, centre.astype(int).tolist(), axes, self.rng.uniform(0, 180), 0, 360, [1], -1)
            return canvas
        angles = np.sort(self.rng.uniform(0, 2 * np.pi, self.rng.integers(3, 9)))
        reach = self.rng.uniform(0.5, 1, (len(angles), 1)) * radius
        corners = centre + reach * np.stack([np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(canvas, [corners.astype(np.int32)], [1])
        return canvas

    def _paste(self, picture: np.ndarray, cutout: CutOut) -> np.ndarray:
        """The picture with the object at a random place, size, turn and side."""
        height, width = cutout.alpha.shape
        scale = self.rng.uniform(0.3, 0.95) * self.size / max(height, width)
        turn: Any = cv2.getRotationMatrix2D((width / 2, height / 2), self.rng.normal(0, 12), scale)
        free = self.size * self.rng.uniform(0.3, 0.7, 2)
        turn[:, 2] += free - (width / 2, height / 2)
        if self.rng.random() < 0.5:
            turn = np.array([[-1, 0, self.size], [0, 1, 0]]) @ np.vstack([turn, [0, 0, 1]])
        image, alpha = (cv2.warpAffine(a, turn, (self.size, self.size)) for a in (cutout.image, cutout.alpha))
        return (picture * (1 - alpha[..., None]) + image * alpha[..., None]).astype(np.uint8)


def _frame(size: int, seed: int, scale: tuple[float, float]) -> A.Compose:
    steps = [
        A.RandomResizedCrop((size, size), scale=scale, ratio=(0.6, 1.7)),
        A.HorizontalFlip(),
        A.Affine(rotate=(-15, 15), shear=(-8, 8), border_mode=cv2.BORDER_REFLECT_101, p=0.4),
    ]
    return A.Compose(steps, seed=seed)


def _look(seed: int) -> A.Compose:
    steps = [
        A.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.4, hue=0.06, p=0.7),
        A.RandomGamma((60, 220), p=0.3),
        A.ToGray(p=0.05),
        A.OneOf(
            [A.GaussianBlur((3, 5)), A.GaussNoise((0.01, 0.06)), A.ImageCompression(quality_range=(40, 90))], p=0.4
        ),
    ]
    return A.Compose(steps, seed=seed)
