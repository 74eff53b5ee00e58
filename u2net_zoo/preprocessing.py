"""Profiles: photograph -> input tensor, output map -> mask, as each source really does it. NumPy and Pillow.

A profile belongs to weights: the same network answers differently behind another profile, which is a common reason for
masks that look almost right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from . import depth
from .errors import UnknownNameError
from .photographs import picture_suffixes, planes, read_image, to_rgb
from .resizing import half_linear, linear, opencv_linear, pillow, skimage_linear, torch_linear
from .weight_words import Classes, classes_of

__all__ = [
    "CLASS_NAMES",
    "KNOWN_PROFILES",
    "PROFILES",
    "Profile",
    "get_profile",
    "letterbox",
    "linear",
    "minmax",
    "picture_suffixes",
    "profile_for",
    "read_image",
    "to_rgb",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DARKEST = 1e-6  # a photograph that is darker than this is black: it is not divided by its maximum
EMPTY = 1 / 255  # a map that varies less than this is empty: min-max does not stretch it further
CLASS_NAMES = "classes"  # in the `info` of a class map
BAND = 64  # rows that are finished at once


class Resize(Protocol):
    """(H, W, channels) and the size (h, w) to (h, w, channels) float64 in [0, 1]; `full` is what becomes 1."""

    def __call__(self, pixels: np.ndarray, size: tuple[int, int], full: float = 255.0, /) -> np.ndarray: ...


def minmax(output: np.ndarray, limits: tuple[np.floating, np.floating] | None = None) -> np.ndarray:
    """(x - min) / (max - min), zeros where the map is flat: 0/0 would turn an empty mask into noise.

    Flat is what would be one grey level in 8 bits: its contrast is raised to one level at most.

    Args:
        limits: minimum and maximum of the whole map, when `output` is a part of it.
    """
    low, high = limits or (output.min(), output.max())
    return (output - low) / max(high - low, output.dtype.type(EMPTY))


def probability(output: np.ndarray) -> np.ndarray:
    """x in [0, 1], as it is; logits through the sigmoid.

    IS-Net for drawn pictures answers logits, its authors' wrapper and the files exported through it probabilities.
    Only logits leave [0, 1], so the values say which it is.
    """
    if output.min() < 0 or output.max() > 1:
        return 1 / (1 + np.exp(-np.clip(output, -80, 80)))
    return output


def _to_8_bits(answer: np.ndarray) -> np.ndarray:
    return (answer * np.float32(255)).astype(np.uint8)


def _divided(resized: np.ndarray) -> np.ndarray:
    """A photograph whose maximum is 1, as the authors divide it."""
    return resized / max(float(resized.max()), DARKEST)


@dataclass(frozen=True)
class Profile:
    """How one source prepares a photograph and reads the network's answer.

    Attributes:
        size: side of the network's square input by default.
        resize: (H, W, 3) uint8 and the size (H, W) to (h, w, 3) float64 in [0, 1]; also what has more than 8 bits, as
            it is stored, so that the depth stays until the scaling.
        mean, std: per channel, after the scaling.
        by_maximum: scale by the maximum of the resized photograph; False: 255 is 1, whatever the photograph holds;
            of more than 8 bits `depth.full_value` is.
        grey_as_first: a greyscale photograph is normalised by the first channel's statistics, three times.
        letterbox: keep the photograph's proportions, with zeros before the normalisation around it.
        activation: what the source's wrapper does to d0 (h, w) before anything else; `np.asarray` is nothing.
        invert: 1 - d0: the network's 1 is a pencil stroke, the drawing's is white paper.
        stretch: min-max (see `minmax`); False: a probability is taken as it is, clipped to [0, 1] for rounding's sake.
        resize_first: d0 is brought to the photograph's size before `answer` is taken; False: `answer` becomes 8 bits
            at the network's size, and these are resized.
        mask_filter: how the 8 bits are resized.
        palette: colour of each class; the answer of weights with classes is a class map then.
        classes: their names, where they are known.
        source: where it is from.
    """

    name: str
    size: int
    resize: Resize
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    by_maximum: bool = True
    grey_as_first: bool = False
    letterbox: bool = False
    activation: Callable[[np.ndarray], np.ndarray] = np.asarray
    invert: bool = False
    stretch: bool = True
    resize_first: bool = False
    mask_filter: Image.Resampling = Image.Resampling.BILINEAR
    palette: tuple[tuple[int, int, int], ...] = ()
    classes: tuple[str, ...] = ()
    source: str = ""

    @property
    def channels(self) -> int:
        """Of the network's input: 3 for RGB, 1 for grey, 4 for RGB and alpha."""
        return len(self.mean)

    def telling(self, classes: Classes | None) -> "Profile":
        """The profile for weights that tell these classes apart; None: as it is."""
        return self if classes is None else replace(self, palette=classes.colours, classes=classes.names)

    def tensor(self, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """The network's input for a photograph in any mode: (1, channels, H, W) float32."""
        grey = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
        return self._normalise(self._resize(image, size), grey and self.grey_as_first)

    def pixels(self, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """The photograph at the size (H, W), uint8 (H, W, 3): what a model with this profile in its graph takes.

        One of more than 8 bits is brought to the full range first where the graph divides by the maximum: 12 bits in 16
        would else be 16 grey levels.
        """
        resized = self._resize(image, size)
        if self.by_maximum and depth.values_of(image) is not None:
            resized = _divided(resized)
        return np.rint(resized * 255).clip(0, 255).astype(np.uint8)

    def normalised(self, pixels: np.ndarray) -> np.ndarray:
        """The network's input for pixels that are at its size already: uint8 (H, W, 3) to (1, 3, H, W) float32."""
        return self._normalise(pixels / 255)

    def _resize(self, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
        pixels, full = planes(image, self.channels)
        resized = self._box(pixels, size, full) if self.letterbox else self.resize(pixels, size, full)
        return np.repeat(resized, 3, axis=2) if resized.shape[2] < self.channels else resized

    def _normalise(self, resized: np.ndarray, grey: bool = False) -> np.ndarray:
        scaled = _divided(resized) if self.by_maximum else resized
        mean, std = (values[:1] if grey else values for values in (self.mean, self.std))
        normal = (scaled - np.asarray(mean)) / np.asarray(std)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)

    def answer(self, output: np.ndarray, limits: tuple[np.floating, np.floating] | None = None) -> np.ndarray:
        """d0 (h, w), after the activation, to a map in [0, 1]; of a part of it with the `limits` of the whole."""
        if self.invert:
            output, limits = 1 - output, limits and (1 - limits[1], 1 - limits[0])
        return minmax(output, limits) if self.stretch else np.clip(output, 0, 1)

    def mask(self, output: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """Greyscale mask of size (W, H) from d0, (h, w): `answer` to 0..255, truncated, resized by `mask_filter`."""
        output = self.activation(self._unbox(output, size))
        if self.resize_first:
            return Image.fromarray(self._in_bands(linear(output, size[::-1])))
        return Image.fromarray(_to_8_bits(self.answer(output))).resize(size, self.mask_filter)

    def _in_bands(self, output: np.ndarray) -> np.ndarray:
        """`answer` as 8 bits of a map of a photograph's size; at once, copies in float64 would fill gigabytes."""
        limits = output.min(), output.max()
        levels = np.empty(output.shape, np.uint8)
        for start in range(0, len(output), BAND):
            levels[start : start + BAND] = _to_8_bits(self.answer(output[start : start + BAND], limits))
        return levels

    def finished(self, levels: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """Greyscale mask of size (W, H) from the 8 bits (h, w) of a model with the profile in its graph."""
        grey = Image.fromarray(np.ascontiguousarray(self._unbox(levels, size)))
        return grey.resize(size, Image.Resampling.BILINEAR if self.resize_first else self.mask_filter)

    def class_map(self, output: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """Palette image ("P") of size (W, H) from logits, (classes, h, w): each pixel is the index of its class.

        Resized by nearest neighbour: between two classes there is no third.
        """
        return self.labels(output.argmax(axis=-3).astype(np.uint8), size)

    def labels(self, indices: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """As `class_map`, from the index of each pixel's class, (h, w) uint8; the picture's `info` has their names."""
        labels = Image.fromarray(np.ascontiguousarray(self._unbox(indices, size)))
        labels = labels.resize(size, Image.Resampling.NEAREST)
        labels.putpalette([value for colour in self.palette for value in colour])
        labels.info |= {CLASS_NAMES: self.classes} if self.classes else {}
        return labels

    def _box(self, pixels: np.ndarray, size: tuple[int, int], full: float) -> np.ndarray:
        rows, columns = letterbox((pixels.shape[0], pixels.shape[1]), size)
        canvas = np.zeros((*size, self.channels))
        canvas[rows, columns] = self.resize(pixels, (rows.stop - rows.start, columns.stop - columns.start), full)
        return canvas

    def _unbox(self, output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if not self.letterbox:
            return output
        rows, columns = letterbox(size[::-1], (output.shape[-2], output.shape[-1]))
        return output[..., rows, columns]


def letterbox(photograph: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a canvas (H, W) that a photograph (H, W) fills when it is fitted in, centred."""
    (h, w), (height, width) = photograph, size
    if h * width > w * height:
        h, w = height, max(1, int(height * w / h))
    else:
        h, w = max(1, int(width * h / w)), width
    top, left = (height - h) // 2, (width - w) // 2
    return slice(top, top + h), slice(left, left + w)


HALF = (0.5, 0.5, 0.5)
ONE = (1.0, 1.0, 1.0)
PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "paper", 320, skimage_linear, grey_as_first=True,
            source="the authors' u2net_test.py and human segmentation, with scikit-image 0.14",
        ),
        Profile(
            "rembg", 320, pillow(Image.Resampling.LANCZOS), mask_filter=Image.Resampling.LANCZOS,
            source="rembg's U²-Net sessions",
        ),
        Profile(
            "portrait", 512, skimage_linear, grey_as_first=True, invert=True,
            source="the authors' u2net_portrait_test.py, with scikit-image 0.14",
        ),
        Profile(
            "portrait-demo", 512, skimage_linear, IMAGENET_MEAN[::-1], IMAGENET_STD[::-1], invert=True,
            source="the authors' u2net_portrait_demo.py, which gives red the statistics of blue and blue those of red",
        ),
        Profile(
            "cloth", 768, pillow(Image.Resampling.BICUBIC), HALF, HALF, by_maximum=False,
            palette=((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)),
            source="cloth-segmentation's infer.py, at the size and with the filter that it was trained with",
        ),
        Profile(
            "isnet", 1024, torch_linear, HALF, ONE, by_maximum=False, resize_first=True,
            source="the authors' IS-Net/Inference.py",
        ),
        Profile(
            "isnet-anime", 1024, opencv_linear, (0.0, 0.0, 0.0), ONE, by_maximum=False, letterbox=True,
            activation=probability, stretch=False, resize_first=True, source="anime-segmentation's inference.py",
        ),
        Profile(
            "sky", 384, half_linear, by_maximum=False, stretch=False, resize_first=True,
            source="Sky-Segmentation-and-Post-processing's ncnn_interence.cpp",
        ),
    )
}  # fmt: skip


# Not of anybody's published weights: those that `u2zoo train` is asked to prepare for, and that name it then.
OTHER_INPUTS = {
    profile.name: profile
    for profile in (
        Profile("grey", 320, skimage_linear, IMAGENET_MEAN[:1], IMAGENET_STD[:1],
                source="`paper` for a greyscale photograph, in one channel instead of three equal ones"),
        Profile("rgba", 320, skimage_linear, (*IMAGENET_MEAN, 0.5), (*IMAGENET_STD, 0.25), by_maximum=False,
                source="ImageNet's statistics for RGB; alpha, or whatever it carries, about zero"),
    )
}  # fmt: skip
KNOWN_PROFILES = PROFILES | OTHER_INPUTS


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises UnknownNameError."""
    if name not in KNOWN_PROFILES:
        raise UnknownNameError("profile", name, KNOWN_PROFILES)
    return KNOWN_PROFILES[name]


def profile_for(words: Mapping[str, str], named: str | None = None) -> Profile:
    """The profile of weights that say these words of themselves (see `weight_words`), with their classes.

    Args:
        named: a name in `KNOWN_PROFILES` that counts more than theirs; without any `paper`.
    """
    profile = get_profile(named) if named else KNOWN_PROFILES.get(words.get("profile", ""), PROFILES["paper"])
    return profile.telling(classes_of(words))
