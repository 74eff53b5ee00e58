"""The object's own colours at its soft edge, where a photograph shows them mixed with the background."""

import numpy as np
from PIL import Image

from .bands import bands, enlarged, floats, to_bytes, working

__all__ = ["estimate", "object_colours"]

RELUCTANCE = np.float32(1e-5)  # how much neighbours pull where alpha is flat: next to nothing
SMALL, SMALL_SWEEPS, SWEEPS = 32, 10, 4  # small levels of the pyramid get more sweeps, they cost nothing


def object_colours(photograph: Image.Image, alpha: Image.Image) -> Image.Image:
    """The object without the background: its colours ("RGB") at the photograph's size.

    Where alpha is 255 these are the photograph's pixels, where it is 0 black. Between, foreground F and background B
    are estimated on a copy of at most 2^19 pixels and then hold the photograph's detail: F + a (I - a F - (1 - a) B),
    equation 6 of M. Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021.

    Args:
        photograph: "RGB". alpha: "L" of the same size.
    """
    small = working(photograph)
    layers: tuple[np.ndarray, ...] = ()
    result = Image.new("RGB", photograph.size)
    for box in bands(photograph.size):
        part, pixels = alpha.crop(box), photograph.crop(box)
        if part.getextrema() == (255, 255):
            result.paste(pixels, box)
        elif part.getbbox():
            layers = layers or estimate(floats(small), floats(alpha.resize(small.size, Image.Resampling.BOX)))
            colours = (enlarged(layer, photograph.size, box) for layer in layers)
            result.paste(Image.fromarray(to_bytes(_add_detail(floats(pixels), floats(part), *colours))), box)
    return result


def _add_detail(photograph: np.ndarray, alpha: np.ndarray, front: np.ndarray, back: np.ndarray) -> np.ndarray:
    a = alpha[..., None]
    return np.where(a > 0, front + a * (photograph - a * front - (1 - a) * back), 0)


def estimate(photograph: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the foreground and of the background, smooth where they cannot be seen.

    For every pixel (a F + (1 - a) B - I)² plus the differences to its neighbours, weighted by how alpha changes, is
    minimised on a pyramid: T. Germer, T. Uelwer, S. Conrad, S. Harmeling, Fast Multi-Level Foreground Estimation, ICPR
    2020. Each level is swept over all pixels at once, four times where PyMatting's estimate_foreground_ml goes through
    them twice in order; it needs no compiler, which takes that package over a minute before its first picture.

    Args:
        photograph: (h, w, 3) float32 in [0, 1]. alpha: (h, w) float32 in [0, 1].

    Returns:
        Two of (h, w, 3) float32 in [0, 1].
    """
    pixels = np.ascontiguousarray(photograph.transpose(2, 0, 1))
    height, width = alpha.shape
    levels = max(1, int(np.ceil(np.log2(max(height, width)))))
    layers = np.stack([_mean(pixels, alpha), _mean(pixels, 1 - alpha)])
    for level in range(levels + 1):
        size = round(height ** (level / levels)), round(width ** (level / levels))
        whole = size == alpha.shape
        layers = _solve(
            _resize_nearest(layers, size),
            pixels if whole else _resize_nearest(pixels, size),
            alpha if whole else _resize_nearest(alpha, size),
            SMALL_SWEEPS if max(size) <= SMALL else SWEEPS,
        )
    front, back = (np.ascontiguousarray(layer.transpose(1, 2, 0)) for layer in layers)
    return front, back


def _mean(pixels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean colour, (3, 1, 1) float32, of pixels (3, h, w) that count as `weight` (h, w) says."""
    total = max(float(weight.sum()), 1e-6)
    return ((pixels * weight).sum((1, 2), keepdims=True) / total).astype(np.float32)


def _solve(layers: np.ndarray, pixels: np.ndarray, alpha: np.ndarray, sweeps: int) -> np.ndarray:
    """`sweeps` Jacobi steps: every pixel's two-by-two system, given its neighbours. (2, 3, h, w) in and out."""
    weights = [RELUCTANCE + np.abs(alpha - other) for other in _neighbours(alpha)]
    shares, pull = (alpha, 1 - alpha), sum(weights)
    one, two, both = shares[0] ** 2 + pull, shares[1] ** 2 + pull, shares[0] * shares[1]
    scale = 1 / (one * two - both * both)
    seen = np.stack([share * pixels for share in shares])
    for _ in range(sweeps):
        right = seen.copy()
        for weight, other in zip(weights, _neighbours(layers), strict=True):
            right += weight * other
        layers = np.stack([scale * (two * right[0] - both * right[1]), scale * (one * right[1] - both * right[0])])
        np.clip(layers, 0, 1, out=layers)
    return layers


def _neighbours(array: np.ndarray) -> tuple[np.ndarray, ...]:
    """`array` (…, h, w) moved by one pixel each way, its border repeated."""
    wide = np.pad(array, ((0, 0),) * (array.ndim - 2) + ((1, 1), (1, 1)), mode="edge")
    return wide[..., :-2, 1:-1], wide[..., 2:, 1:-1], wide[..., 1:-1, :-2], wide[..., 1:-1, 2:]


def _resize_nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(…, h, w) at another size, by nearest neighbour."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, array.shape[-2:], strict=True))
    return array[..., rows[:, None], columns]
