"""Profiles: photograph -> input tensor, output map -> mask, as each source really does it. NumPy and Pillow.

A profile belongs to weights: the same network fed by another profile answers differently, which is a common reason for
masks that look almost right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import ImageError, UnknownNameError, one_line

__all__ = ["PROFILES", "Profile", "get_profile", "minmax", "picture_suffixes", "read_image", "to_rgb"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DARKEST = 1e-6  # a photograph that is darker than this is black: it is not divided by its maximum
EMPTY = 1 / 255  # a map that varies less than this is empty: min-max does not stretch it further
Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def minmax(output: np.ndarray) -> np.ndarray:
    """(x - min) / (max - min), zeros where the map is flat: 0/0 would turn an empty mask into noise.

    Flat is what would be one grey level in 8 bits: its contrast is raised to one level at most.
    """
    low, high = output.min(), output.max()
    return (output - low) / max(high - low, output.dtype.type(EMPTY))


def probability(output: np.ndarray) -> np.ndarray:
    """x in [0, 1], as it is; logits through the sigmoid.

    IS-Net for drawn pictures answers logits, its authors' wrapper and the files exported through it probabilities.
    Only logits leave [0, 1], so the values tell which came.
    """
    if output.min() < 0 or output.max() > 1:
        return 1 / (1 + np.exp(-np.clip(output, -80, 80)))
    return output


def _to_8_bits(answer: np.ndarray) -> Image.Image:
    return Image.fromarray((answer * np.float32(255)).astype(np.uint8))


@dataclass(frozen=True)
class Profile:
    """How one source prepares a photograph and reads the network's answer.

    Attributes:
        size: side of the square that is fed by default.
        resize: (H, W, 3) uint8 and the size (H, W) to (h, w, 3) float64 in [0, 1].
        mean, std: per channel, after the scaling.
        by_maximum: scale by the maximum of the resized photograph; False: 255 is 1, whatever the photograph holds.
        grey_as_first: a greyscale photograph is normalised by the first channel's statistics, three times.
        letterbox: keep the photograph's proportions, with zeros before the normalisation around it.
        activation: what the source's wrapper does to d0 (h, w) before anything else; `np.asarray` is nothing.
        invert: 1 - d0: the network's 1 is a pencil stroke, the drawing's is white paper.
        stretch: min-max (see `minmax`); False: a probability is taken as it is, clipped to [0, 1] for rounding's sake.
        resize_first: d0 is brought to the photograph's size before `answer` is taken; False: `answer` becomes 8 bits
            at the network's size, and these are resized.
        mask_filter: how the 8 bits are resized.
        palette: colour of each class; the answer of weights with classes is a class map then.
        source: where it is from.
    """

    name: str
    size: int
    resize: Resize
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    by_maximum: bool = True
    grey_as_first: bool = False
    letterbox: bool = False
    activation: Callable[[np.ndarray], np.ndarray] = np.asarray
    invert: bool = False
    stretch: bool = True
    resize_first: bool = False
    mask_filter: Image.Resampling = Image.Resampling.BILINEAR
    palette: tuple[tuple[int, int, int], ...] = ()
    source: str = ""

    def tensor(self, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """The network's input for a photograph in any mode: (1, 3, H, W) float32."""
        grey = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
        return self._normalised(self._resized(image, size), grey and self.grey_as_first)

    def pixels(self, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """The photograph at the size (H, W), uint8 (H, W, 3): what a model with this profile in its graph takes."""
        return np.rint(self._resized(image, size) * 255).clip(0, 255).astype(np.uint8)

    def normalised(self, pixels: np.ndarray) -> np.ndarray:
        """The network's input for pixels that are at its size already: uint8 (H, W, 3) to (1, 3, H, W) float32."""
        return self._normalised(pixels / 255)

    def _resized(self, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
        pixels = np.asarray(to_rgb(image))
        return self._boxed(pixels, size) if self.letterbox else self.resize(pixels, size)

    def _normalised(self, resized: np.ndarray, grey: bool = False) -> np.ndarray:
        scaled = resized / max(float(resized.max()), DARKEST) if self.by_maximum else resized
        mean, std = ((values[0],) * 3 if grey else values for values in (self.mean, self.std))
        normal = (scaled - np.asarray(mean)) / np.asarray(std)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)

    def answer(self, output: np.ndarray) -> np.ndarray:
        """d0 (h, w), after the activation, to a map in [0, 1]."""
        output = 1 - output if self.invert else output
        return minmax(output) if self.stretch else np.clip(output, 0, 1)

    def mask(self, output: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """Greyscale mask of size (W, H) from d0, (h, w): `answer` to 0..255, truncated, resized by `mask_filter`."""
        output = self.activation(self._unboxed(output, size))
        if self.resize_first:
            return _to_8_bits(self.answer(linear(output, size[::-1])))
        return _to_8_bits(self.answer(output)).resize(size, self.mask_filter)

    def finished(self, levels: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """Greyscale mask of size (W, H) from the 8 bits (h, w) of a model with the profile in its graph."""
        grey = Image.fromarray(np.ascontiguousarray(self._unboxed(levels, size)))
        return grey.resize(size, Image.Resampling.BILINEAR if self.resize_first else self.mask_filter)

    def class_map(self, output: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """Palette image ("P") of size (W, H) from logits, (classes, h, w): each pixel is the index of its class.

        Resized by nearest neighbour: between two classes there is no third.
        """
        return self.labels(output.argmax(axis=-3).astype(np.uint8), size)

    def labels(self, indices: np.ndarray, size: tuple[int, int]) -> Image.Image:
        """As `class_map`, from the index of each pixel's class, (h, w) uint8."""
        labels = Image.fromarray(np.ascontiguousarray(self._unboxed(indices, size)))
        labels = labels.resize(size, Image.Resampling.NEAREST)
        labels.putpalette([value for colour in self.palette for value in colour])
        return labels

    def _boxed(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        rows, columns = letterbox((pixels.shape[0], pixels.shape[1]), size)
        canvas = np.zeros((*size, 3))
        canvas[rows, columns] = self.resize(pixels, (rows.stop - rows.start, columns.stop - columns.start))
        return canvas

    def _unboxed(self, output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
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


def _skimage_linear(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """scikit-image 0.14's `transform.resize(mode="constant")`: linear, no antialiasing."""
    from skimage.transform import resize

    return resize(pixels, size, order=1, mode="constant", anti_aliasing=False)


def linear(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w[, channels]) at the size (H, W): bilinear, half-pixel centres, borders repeated, as Torch and OpenCV do.

    Values keep their range; float64.
    """
    from skimage.transform import resize

    return resize(array.astype(np.float64), size, order=1, mode="edge", anti_aliasing=False, preserve_range=True)


def _torch_linear(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Torch's bilinear interpolation, its result cast to 8 bits, which truncates."""
    return np.floor(linear(pixels, size) + 1e-4) / 255  # float32 in Torch rounds 41.99999 up to 42


def _opencv_linear(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """OpenCV's INTER_LINEAR on 8 bits, which rounds."""
    return np.rint(linear(pixels, size)) / 255


def _halved_opencv_linear(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Halved by OpenCV's pyrDown while both sides exceed 768, then `_opencv_linear`."""
    while min(pixels.shape[:2]) > 768:
        pixels = _halve(pixels)
    return _opencv_linear(pixels, size)


def _halve(pixels: np.ndarray) -> np.ndarray:
    """Half the size, rounded down, as OpenCV's pyrDown: every second pixel of a Gaussian blur, borders mirrored."""
    wide = np.pad(pixels.astype(np.uint32), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    rows = _every_second(wide, pixels.shape[0] // 2)
    both = _every_second(rows.swapaxes(0, 1), pixels.shape[1] // 2).swapaxes(0, 1)
    return ((both + 128) >> 8).astype(np.uint8)


def _every_second(array: np.ndarray, count: int) -> np.ndarray:
    """`count` sums along the first axis, two apart, weighted 1 4 6 4 1."""
    a, b, c, d, e = (array[n : n + 2 * count : 2] for n in range(5))
    return a + e + 4 * (b + d) + 6 * c


def _pillow(pixels: np.ndarray, size: tuple[int, int], filter: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], filter), np.float64) / 255


HALF = (0.5, 0.5, 0.5)
ONE = (1.0, 1.0, 1.0)
PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "paper", 320, _skimage_linear, grey_as_first=True,
            source="the authors' u2net_test.py and human segmentation, with scikit-image 0.14",
        ),
        Profile(
            "rembg", 320, partial(_pillow, filter=Image.Resampling.LANCZOS), mask_filter=Image.Resampling.LANCZOS,
            source="rembg's U²-Net sessions",
        ),
        Profile(
            "portrait", 512, _skimage_linear, grey_as_first=True, invert=True,
            source="the authors' u2net_portrait_test.py, with scikit-image 0.14",
        ),
        Profile(
            "cloth", 768, partial(_pillow, filter=Image.Resampling.BICUBIC), HALF, HALF, by_maximum=False,
            palette=((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)),
            source="cloth-segmentation's infer.py, at the size and with the filter that it was trained with",
        ),
        Profile(
            "isnet", 1024, _torch_linear, HALF, ONE, by_maximum=False, resize_first=True,
            source="the authors' IS-Net/Inference.py",
        ),
        Profile(
            "isnet-anime", 1024, _opencv_linear, (0.0, 0.0, 0.0), ONE, by_maximum=False, letterbox=True,
            activation=probability, stretch=False, resize_first=True, source="anime-segmentation's inference.py",
        ),
        Profile(
            "sky", 384, _halved_opencv_linear, by_maximum=False, stretch=False, resize_first=True,
            source="Sky-Segmentation-and-Post-processing's ncnn_interence.cpp",
        ),
    )
}  # fmt: skip


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises UnknownNameError."""
    if name not in PROFILES:
        raise UnknownNameError("profile", name, PROFILES)
    return PROFILES[name]


def read_image(path: str | Path) -> Image.Image:
    """The photograph, turned upright as its EXIF orientation says. Raises ImageError."""
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a photograph that can be read (empty, corrupt or of an unknown kind)") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too many pixels: {one_line(error)}") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise EOFError, struct.error, zlib.error, TypeError … for damage
        raise ImageError(f"{path}: the photograph cannot be decoded: {one_line(error)}") from None


def picture_suffixes() -> set[str]:
    """Suffixes of the pictures that Pillow can open itself; HDF5 and the like are only its plug-ins' names."""
    raster = set(Image.registered_extensions().values()) & set(Image.OPEN) - {"HDF5", "GRIB", "BUFR", "WMF", "EPS"}
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in raster}


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB from any mode: 16-bit is scaled, palette and CMYK are converted, alpha is dropped as the sources do."""
    if image.mode.startswith("I") or image.mode == "F":
        wide = np.asarray(image, np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(wide.max()), 1.0)
        image = Image.fromarray(np.clip(wide / top * 255, 0, 255).round().astype(np.uint8))
    return image.convert("RGB")
