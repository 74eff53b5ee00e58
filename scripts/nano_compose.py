"""Pictures to learn from: photographs, cut-outs pasted on other scenes, drawn shapes, and composites of known alpha.

A teacher labels the first three, so they need no mask of their own; a composite's label is its alpha. Everything
follows from one seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import albumentations as A
import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

__all__ = ["Composer", "CutOut", "Stock"]

T = TypeVar("T")

MIX = {"photograph": 0.46, "paste": 0.30, "shapes": 0.02, "composite": 0.22}
SCALE = (0.4, 1.0)  # part of a photograph that a crop covers
SIDES, CLOSE_SIDES = (0.3, 0.95), (0.95, 1.5)  # of a pasted object, the picture's being 1; of one that fills it
CLOSE = 0.2  # how often one does
WHOLE = 0.4  # how often a photograph is not cropped, as people's are not
SEEN = 64  # of 255: the alpha from which on a pixel's colour is the object's
OURS = 0.45  # how often a pasted object is one that the teacher cut out
LARGEST = 2.5  # how much a small cut-out may be enlarged
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

    @classmethod
    def read(cls, path: Path) -> "CutOut":
        """A picture with true alpha.

        Pixels that cannot be seen hold any colour; they get their nearest neighbour's: scaling would make a halo of it.
        """
        picture = Image.open(path).convert("RGBA")
        picture = np.asarray(picture.crop(picture.getchannel("A").getbbox()))
        nearest = distance_transform_edt(picture[..., 3] < SEEN, return_distances=False, return_indices=True)
        return cls(picture[..., :3][tuple(nearest)], picture[..., 3].astype(np.float32) / 255)


@dataclass(frozen=True)
class Stock:
    """What pictures are made of.

    Attributes:
        photographs: (H, W, 3) uint8 each.
        backgrounds: the same, with nothing in them that stands out.
        teacher_cutouts: objects that a teacher cut out of photographs.
        alpha_cutouts: objects with their true alpha.
    """

    photographs: Sequence[np.ndarray]
    backgrounds: Sequence[np.ndarray]
    teacher_cutouts: Sequence[CutOut]
    alpha_cutouts: Sequence[CutOut]


class Composer:
    """Draws pictures of one size.

    Args:
        stock: what they are made of.
        size: side of the square pictures.
        seed: two composers of the same seed draw the same pictures.
        mix: how often each kind is drawn; adds up to 1.
        close: how often a pasted object fills the picture and more.
    """

    def __init__(self, stock: Stock, size: int, seed: int, mix: Mapping[str, float] = MIX, close: float = CLOSE):
        self.mix, self.close = mix, close
        self.stock = stock
        self.size = size
        self.rng = np.random.default_rng(seed)
        self.frame = _frame(size, seed, SCALE)
        self.look = _look(seed)

    def __call__(self) -> tuple[np.ndarray, np.ndarray | None]:
        """A picture, (size, size, 3) uint8, and its alpha, (size, size) float32; none where a teacher is to tell."""
        kind = self.rng.choice(list(self.mix), p=list(self.mix.values()))
        picture, alpha = self.composite() if kind == "composite" else (getattr(self, kind)(), None)
        return self.look(image=picture)["image"], alpha

    def composite(self) -> tuple[np.ndarray, np.ndarray]:
        """One to three objects of known alpha, in the light and the focus of their background."""
        picture = self._scene().astype(np.float32)
        known = np.zeros((self.size, self.size), np.float32)
        for _ in range(self.rng.choice((1, 2, 3), p=(0.7, 0.22, 0.08))):
            image, alpha = self._placed(self._pick(self.stock.alpha_cutouts), LARGEST)
            if self.rng.random() < 0.35:
                picture = self._shadowed(picture, alpha)
            image = self._harmonised(image.astype(np.float32), alpha, picture)
            picture = picture * (1 - alpha[..., None]) + image * alpha[..., None]
            known = known + alpha - known * alpha
        return picture.clip(0, 255).astype(np.uint8), known

    def _scene(self) -> np.ndarray:
        """A background, sometimes out of focus; seldom a texture."""
        if self.rng.random() < 0.12:
            return self._texture()
        picture = self.frame(image=self._pick(self.stock.backgrounds))["image"]
        if self.rng.random() < 0.4:
            picture = cv2.GaussianBlur(picture, (0, 0), self.rng.uniform(0.5, 5) * self.size / 320)
        return picture

    def _shadowed(self, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """The picture with a soft shadow beside the object that is to come."""
        by: Any = np.float32([[1, 0, self.rng.normal(0, 0.04)], [0, 1, self.rng.uniform(0, 0.06)]])
        by[:, 2] *= self.size
        shadow = cv2.warpAffine(alpha, by, (self.size, self.size))
        shadow = cv2.GaussianBlur(shadow, (0, 0), self.rng.uniform(1, 8) * self.size / 320)
        return picture * (1 - self.rng.uniform(0.15, 0.6) * shadow[..., None])

    def _harmonised(self, image: np.ndarray, alpha: np.ndarray, scene: np.ndarray) -> np.ndarray:
        """The object with part of the scene's mean and contrast, and sometimes not quite in focus."""
        weight = alpha[..., None] / max(float(alpha.sum()), 1)
        mean = (image * weight).sum((0, 1))
        spread = np.sqrt(((image - mean) ** 2 * weight).sum()) + 1
        towards = self.rng.uniform(0, 0.6)
        contrast = (1 - towards) + towards * float(np.clip(scene.std() * 1.7 / spread, 0.6, 1.6))
        image = (image - mean) * contrast + mean + towards * (scene.mean((0, 1)) - mean) * 0.7
        if self.rng.random() < 0.3:
            image = cv2.GaussianBlur(image, (0, 0), self.rng.uniform(0.3, 1.2))
        return image

    def photograph(self) -> np.ndarray:
        picture = self._pick(self.stock.photographs)
        if self.rng.random() < WHOLE:
            return cv2.resize(picture, (self.size, self.size))
        return self.frame(image=picture)["image"]

    def paste(self) -> np.ndarray:
        picture = self._background()
        for _ in range(1 + (self.rng.random() < 0.3)):
            cut_outs = self.stock.teacher_cutouts if self.rng.random() < OURS else self.stock.alpha_cutouts
            picture = self._paste(picture, self._pick(cut_outs or self.stock.teacher_cutouts))
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
        picture = self.frame(image=self._pick(self.stock.photographs))["image"]
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
        image, alpha = self._placed(cutout, 10)
        return (picture * (1 - alpha[..., None]) + image * alpha[..., None]).astype(np.uint8)

    def _placed(self, cutout: CutOut, largest: float) -> tuple[np.ndarray, np.ndarray]:
        """The object at a random place, size, turn and side of an empty picture, and its alpha there."""
        height, width = cutout.alpha.shape
        sides = CLOSE_SIDES if self.close and self.rng.random() < self.close else SIDES
        scale = min(self.rng.uniform(*sides) * self.size / max(height, width), largest)
        turn: Any = cv2.getRotationMatrix2D((width / 2, height / 2), self.rng.normal(0, 12), scale)
        free = self.size * self.rng.uniform(0.3, 0.7, 2)
        turn[:, 2] += free - (width / 2, height / 2)
        if self.rng.random() < 0.5:
            turn = np.array([[-1, 0, self.size], [0, 1, 0]]) @ np.vstack([turn, [0, 0, 1]])
        small = [cutout.image, cutout.alpha]
        if scale < 0.5:  # warping alone would skip pixels
            small = [cv2.resize(a, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for a in small]
            turn = turn @ np.diag([width / small[0].shape[1], height / small[0].shape[0], 1])
        image, alpha = (
            cv2.warpAffine(a, turn, (self.size, self.size), borderMode=edge)
            for a, edge in zip(small, (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT), strict=True)
        )
        return image, alpha


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
