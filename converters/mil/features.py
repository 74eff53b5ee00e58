"""A model's inputs and outputs, by Core ML's rules: multi-arrays and images, of fixed or flexible sizes.

Images are uint8 arrays here: (H, W, 3) in **RGB** order whatever order the model wants, or (H, W) for greyscale;
greyscale float16 images are float16 (H, W). In the program an image is a (1, C, H, W) tensor of its pixel values,
0..255 unscaled, in the model's colour order. (An ImageType's scale and bias are ordinary operations of the program.)

Source: FeatureTypes.proto of the Core ML model format, and coremltools' guide to image inputs and outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError, UsageError

__all__ = ["Feature", "ImageFeature", "TensorFeature", "feature"]

ARRAY_TYPES = {
    65568: np.float32,  # numbers of ArrayDataType in FeatureTypes.proto
    65600: np.float64,
    131104: np.int32,
    131080: np.int8,
    65552: np.float16,
}
COLOURS = {10: "grayscale", 20: "rgb", 30: "bgr", 40: "grayscale_float16"}  # ColorSpace in FeatureTypes.proto


@dataclass(frozen=True)
class Sizes:
    """Shapes that are allowed.

    Attributes:
        default: the shape that the model is described with; empty: any.
        choices: shapes to choose from, when enumerated.
        ranges: lowest and highest size of each axis, when flexible.
    """

    default: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, float], ...] = ()

    @property
    def flexible(self) -> bool:
        return bool(self.choices or any(low != high for low, high in self.ranges) or not self.default)

    def allow(self, shape: tuple[int, ...]) -> bool:
        if self.choices:
            return shape in self.choices
        if self.ranges:
            pairs = zip(shape, self.ranges, strict=False)
            return len(shape) == len(self.ranges) and all(low <= size <= high for size, (low, high) in pairs)
        return not self.default or shape == self.default

    def __str__(self) -> str:
        if self.choices:
            return " or ".join(str(choice) for choice in self.choices)
        if self.ranges:
            return " x ".join(str(low) if low == high else f"{low}..{high}" for low, high in self.ranges)
        return str(self.default)


@dataclass(frozen=True)
class Feature:
    """A named input or output; `sizes` are shapes of the arrays outside (images: (H, W))."""

    name: str
    sizes: Sizes

    def encode(self, array: np.ndarray) -> np.ndarray:
        """What the program takes for `array`.

        Raises:
            UsageError: its shape or its type is not allowed here.
        """
        raise NotImplementedError

    def decode(self, value: np.ndarray) -> np.ndarray:
        """What the model's caller gets for the program's `value`."""
        raise NotImplementedError

    def _refuse(self, got: object, allowed: object) -> UsageError:
        return UsageError(f"input {self.name!r}: got {got}; allowed: {allowed}")


@dataclass(frozen=True)
class TensorFeature(Feature):
    """A multi-array of `dtype`."""

    dtype: np.dtype

    def encode(self, array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        if not self.sizes.allow(array.shape):
            raise self._refuse(f"shape {array.shape}", self.sizes)
        if array.dtype.kind not in ("fiu" if self.dtype.kind == "f" else "iu"):
            raise self._refuse(f"dtype {array.dtype}", self.dtype)
        return array.astype(self.dtype)

    def decode(self, value: np.ndarray) -> np.ndarray:
        return value.astype(self.dtype, copy=False)


@dataclass(frozen=True)
class ImageFeature(Feature):
    """An image; `colour`: `rgb`, `bgr`, `grayscale` or `grayscale_float16`."""

    colour: str

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float16 if self.colour == "grayscale_float16" else np.uint8)

    @property
    def channels(self) -> int:
        return 3 if self.colour in ("rgb", "bgr") else 1

    def encode(self, array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        rank, what = (3, "(H, W, 3) in RGB order") if self.channels == 3 else (2, "(H, W)")
        if array.dtype != self.dtype or array.ndim != rank or array.shape[2:] not in ((), (3,)):
            raise self._refuse(f"{array.dtype} of shape {array.shape}", f"an image: {self.dtype} {what}")
        if not self.sizes.allow(array.shape[:2]):
            raise self._refuse(f"an image of (H, W) {array.shape[:2]}", self.sizes)
        planes = array.reshape(*array.shape[:2], self.channels).transpose(2, 0, 1)[None]
        return planes[:, ::-1] if self.colour == "bgr" else planes

    def decode(self, value: np.ndarray) -> np.ndarray:
        """Pixels of a (1, C, H, W) tensor.

        Eight-bit images: values are clipped to 0..255 and rounded to the nearest, halves to even; NaN becomes 0. Apple
        documents that such outputs should hold 0..255, not how they are rounded: allow for one grey level.
        """
        if value.ndim != 4 or value.shape[:2] != (1, self.channels):
            raise ArtifactError(f"output {self.name!r}: a {self.colour} image from a tensor of shape {value.shape}")
        planes = value[0, ::-1] if self.colour == "bgr" else value[0]
        pixels = planes.transpose(1, 2, 0).astype(np.float32)
        if self.dtype == np.uint8:
            pixels = np.rint(np.clip(np.nan_to_num(pixels, nan=0.0, posinf=255.0, neginf=0.0), 0, 255))
        pixels = np.ascontiguousarray(pixels.astype(self.dtype))
        return pixels if self.channels == 3 else pixels[..., 0]


def feature(spec: Any) -> Feature:
    """The feature that a `FeatureDescription` describes.

    Raises:
        ArtifactError: it is neither a multi-array nor an image, or of a kind that is not known.
    """
    kind = spec.type.WhichOneof("Type")
    if kind == "multiArrayType":
        return _tensor(spec.name, spec.type.multiArrayType)
    if kind == "imageType":
        return _image(spec.name, spec.type.imageType)
    raise ArtifactError(f"input or output {spec.name!r} is a {kind}; multi-arrays and images can be evaluated")


def _tensor(name: str, spec: Any) -> TensorFeature:
    if spec.dataType not in ARRAY_TYPES:
        raise ArtifactError(f"input or output {name!r} has the unknown element type {spec.dataType}")
    sizes = {
        "enumeratedShapes": lambda: partial(Sizes, choices=tuple(tuple(s.shape) for s in spec.enumeratedShapes.shapes)),
        "shapeRange": lambda: partial(Sizes, ranges=_ranges(spec.shapeRange.sizeRanges)),
    }.get(spec.WhichOneof("ShapeFlexibility"), lambda: Sizes)()
    return TensorFeature(name, sizes(tuple(spec.shape)), np.dtype(ARRAY_TYPES[spec.dataType]))


def _image(name: str, spec: Any) -> ImageFeature:
    if spec.colorSpace not in COLOURS:
        raise ArtifactError(f"input or output {name!r} has the unknown colour space {spec.colorSpace}")
    flexible = spec.imageSizeRange
    sizes = {
        "enumeratedSizes": lambda: partial(
            Sizes, choices=tuple((s.height, s.width) for s in spec.enumeratedSizes.sizes)
        ),
        "imageSizeRange": lambda: partial(Sizes, ranges=_ranges([flexible.heightRange, flexible.widthRange])),
    }.get(spec.WhichOneof("SizeFlexibility"), lambda: Sizes)()
    default = (spec.height, spec.width) if spec.height or spec.width else ()
    return ImageFeature(name, sizes(default), COLOURS[spec.colorSpace])


def _ranges(spec: Sequence[Any]) -> tuple[tuple[int, float], ...]:
    """Lowest and highest sizes; a negative upper bound means that there is none."""
    return tuple((item.lowerBound, item.upperBound if item.upperBound >= 0 else inf) for item in spec)
