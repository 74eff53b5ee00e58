"""Convolutions, pooling, padding and resizing of Core AI, each with what it means."""

from typing import Any

import numpy as np
from support.coreai_case import F16, F32, Case, normal, stored, torch_of, unsigned

__all__ = ["WINDOWS"]


def convolution(stride: int, dilation: int, groups: int = 1, dtype: Any = F32) -> Case:
    kernel = normal(8, 6 // groups, 3, 3, dtype=dtype)

    def build(ca: Any, x: Any) -> Any:
        return ca.conv2d(x, kernel, unsigned(stride, stride), unsigned(dilation, dilation), np.uint32(groups))

    def expected(x: np.ndarray) -> np.ndarray:
        import torch.nn.functional as F

        weight = kernel.astype(np.float64)
        return torch_of(lambda a, w: F.conv2d(a, w, None, stride, 0, dilation, groups))(x, weight)

    return Case(build, (normal(2, 6, 13, 11, dtype=dtype),), expected)


def max_pool(size: int, stride: int, ceil: bool, sides: tuple[int, int], dilation: int = 1) -> Case:
    def expected(x: np.ndarray) -> np.ndarray:
        import torch.nn.functional as F

        return torch_of(lambda a: F.max_pool2d(a, size, stride, 0, dilation, ceil_mode=ceil))(x)

    picture = normal(1, 3, *sides)

    def build(ca: Any, x: Any) -> Any:
        made = ca.TensorSpec(expected(picture).shape, ca.float32)
        window = (unsigned(each, each) for each in (size, stride, dilation))
        return ca.maxpool2d(made, x, *window, np.bool_(ceil))

    return Case(build, (picture,), expected)


def padding(mode: str, pairs: list[int], value: float = 0.0) -> Case:
    names = {"constant": "constant", "replicate": "edge", "reflect": "reflect", "symmetric": "symmetric"}
    names |= {"circular": "wrap"}
    widths = np.reshape(pairs, (-1, 2))
    extra = {"constant_values": value} if mode == "constant" else {}
    return Case(
        lambda ca, x: ca.pad(x, unsigned(*pairs), F32(value), padding_mode=mode),
        (normal(1, 2, 5, 4),),
        lambda x: np.pad(x, widths, names[mode], **extra),
    )


def resize(size: tuple[int, int], scale: tuple[float, float], offset: tuple[float, float], mode: str) -> Case:
    """By the formula that the library documents, point by point."""
    rows = [[1.0, 1.0, *scale], [0.0, 0.0, *offset]]

    def build(ca: Any, x: Any) -> Any:
        factors, offsets = (np.array(row, F32) for row in rows)
        return ca.interpolate(x, np.array([1, 2, *size], np.int32), factors, offsets, mode)

    def expected(x: np.ndarray) -> np.ndarray:
        for axis, (m, factor, away) in enumerate(zip(size, scale, offset, strict=True), start=2):
            n = x.shape[axis]
            kind = np.float64 if mode == "linear" else F32
            half, factor, away = kind(0.5), kind(F32(factor)), kind(F32(away))
            places = np.clip((np.arange(m, dtype=kind) + half - away) / factor - half, 0, n - 1)
            low = np.floor(places).astype(int) if mode == "linear" else np.rint(places).astype(int)
            part = (places - low if mode == "linear" else np.zeros(m)).reshape(
                [-1 if n == axis else 1 for n in range(4)]
            )
            x = x.take(low, axis) * (1 - part) + x.take(np.minimum(low + 1, n - 1), axis) * part
        return x

    return Case(build, (normal(1, 2, 5, 7),), expected)


WINDOWS = {
    "convolution": convolution(1, 1),
    "convolution, stride 2": convolution(2, 1),
    "convolution, dilation 2": convolution(1, 2),
    "convolution, stride 2, dilation 3": convolution(2, 3),
    "convolution in groups": convolution(1, 1, groups=2),
    "convolution in float16": convolution(1, 1, dtype=F16),
    "maximum of 2, even": max_pool(2, 2, ceil=True, sides=(8, 6)),
    "maximum of 2, odd, ceil": max_pool(2, 2, ceil=True, sides=(7, 5)),
    "maximum of 2, odd, floor": max_pool(2, 2, ceil=False, sides=(7, 5)),
    "maximum of 3, stride 1": max_pool(3, 1, ceil=False, sides=(7, 5)),
    "maximum of 3, dilation 2": max_pool(3, 1, ceil=False, sides=(9, 8), dilation=2),
    **{f"padding, {mode}": padding(mode, [0, 0, 0, 1, 2, 1, 3, 0], 1.5) for mode in ("constant", "replicate")},
    **{f"padding, {mode}": padding(mode, [0, 0, 0, 1, 2, 1, 3, 0]) for mode in ("reflect", "symmetric", "circular")},
    "sums of windows": Case(
        lambda ca, x: ca.sumpool2d(x, unsigned(2, 3), unsigned(2, 1), stored(unsigned(1, 1), "uint32")(ca)),
        (normal(1, 2, 6, 5),),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 3), (2, 3))[:, :, ::2].sum((-2, -1)),
    ),
    "doubled by half-pixel centres": resize((10, 14), (2, 2), (0, 0), "linear"),
    "to odd sizes": resize((9, 13), (9 / 5, 13 / 7), (0, 0), "linear"),
    "made smaller": resize((3, 4), (3 / 5, 4 / 7), (0, 0), "linear"),
    "corners aligned": resize((9, 13), (2, 2), (-0.5, -0.5), "linear"),
    "a grid that is none of Torch's": resize((8, 9), (1.5, 1.25), (0.25, -0.125), "linear"),
    "nearest": resize((10, 14), (2, 2), (0, 0), "nearest_neighbor"),
    "nearest, where float32 decides": resize((37, 51), (37 / 5, 51 / 7), (0, 0), "nearest_neighbor"),
    "nearest, halves": resize((10, 21), (2, 3), (0.5, 0), "nearest_neighbor"),
}
