"""Operations of Core AI, each with what it means in NumPy or Torch: what the evaluator's tests go through.

A case is built with Apple's authoring library (`coreai_makers.py`), saved, and evaluated from disk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RNG = np.random.default_rng(20261127)
F32, F16 = np.float32, np.float16


@dataclass(frozen=True)
class Case:
    """One program.

    Attributes:
        build: called with the library's operations (`coreai.authoring`), `constant` and a value for each input.
        inputs: arrays.
        expected: of the inputs, floats in float64.
        defined: whether the definition that the library writes of it can be computed.
    """

    build: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    expected: Callable[..., np.ndarray]
    defined: bool = True

    def meant(self) -> np.ndarray:
        return self.expected(*(each.astype(np.float64) if each.dtype.kind == "f" else each for each in self.inputs))

    def made(self) -> tuple[tuple[int, ...], Any]:
        """Shape and type of the result."""
        meant = self.meant()
        kinds = {"b": np.bool_, "i": np.int32, "u": np.uint8}
        return meant.shape, kinds.get(
            meant.dtype.kind,
            np.float32 if meant.dtype.kind == "f" != self.inputs[-1].dtype.kind else self.inputs[-1].dtype,
        )


def normal(*shape: int, dtype: Any = F32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def unsigned(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


def torch_of(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """A function of tensors as one of arrays."""

    def of_arrays(*arrays: np.ndarray) -> np.ndarray:
        import torch

        return function(*(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays)).numpy()

    return of_arrays


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


def two(name: str, function: Callable[..., np.ndarray], *inputs: np.ndarray) -> Case:
    return Case(lambda ca, x, y: getattr(ca, name)(x, y), inputs, function)


def one(name: str, function: Callable[..., np.ndarray], x: np.ndarray) -> Case:
    return Case(lambda ca, v: getattr(ca, name)(v), (x,), function)


def moved(build: Callable[..., Any], expected: Callable[..., np.ndarray], *inputs: np.ndarray) -> Case:
    return Case(build, inputs, expected)


X, Y, ROW = normal(2, 3, 4), normal(2, 3, 4), normal(1, 3, 1)
POSITIVE = np.abs(normal(2, 3, 4)) + F32(0.5)
INTEGERS = RNG.integers(-20, 20, (2, 3, 4)).astype(np.int32)
DIVISORS = np.where(INTEGERS == 0, 3, INTEGERS[::-1]).astype(np.int32)
DIVISORS[DIVISORS == 0] = 7
PICTURE = RNG.integers(0, 256, (1, 3, 4, 5)).astype(np.uint8)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return erf(x)


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
ELEMENTS = {
    **{
        f"{name}, {kind}": two(f"broadcasting_{name}", function, X.astype(dtype), other.astype(dtype))
        for name, function in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "divide": np.divide}.items()
        for kind, dtype, other in (("float32", F32, POSITIVE), ("float16", F16, POSITIVE), ("a row", F32, ROW))
    },
    "maximum": two("broadcasting_maximum", np.maximum, X, ROW),
    "minimum": two("broadcasting_minimum", np.minimum, X, ROW),
    "power": two("broadcasting_pow", np.power, POSITIVE, X),
    "matrices": two("broadcasting_batch_matmul", np.matmul, normal(2, 3, 4), normal(1, 4, 5)),
    "sum of integers": two("broadcasting_add", np.add, INTEGERS, INTEGERS[::-1].copy()),
    "remainder": two("broadcasting_modulo", np.fmod, X, POSITIVE),
    "equal": two("broadcasting_equal", np.equal, INTEGERS, INTEGERS[::-1].copy()),
    "not equal": two("broadcasting_not_equal", np.not_equal, INTEGERS, INTEGERS[::-1].copy()),
    "greater": two("broadcasting_greater", np.greater, X, ROW),
    "sigmoid": one("sigmoid", _sigmoid, X * 4),
    "sigmoid in float16": one("sigmoid", _sigmoid, X.astype(F16)),
    "relu": one("relu", lambda x: np.maximum(x, 0), X),
    "relu in float16": one("relu", lambda x: np.maximum(x, 0), X.astype(F16)),
    "silu": one("silu", lambda x: x * _sigmoid(x), X),
    "exp": one("exp", np.exp, X),
    "log": one("log", np.log, POSITIVE),
    "sqrt": one("sqrt", np.sqrt, POSITIVE),
    "rsqrt": one("rsqrt", lambda x: 1 / np.sqrt(x), POSITIVE),
    "tanh": one("tanh", np.tanh, X),
    "erf": one("erf", _erf, X),
    "abs": one("abs_", np.abs, X),
    "round to even": one("round_", np.rint, np.array([-2.5, -0.5, 0.5, 1.5, 2.4], F32)),
    "sine": one("sin", np.sin, X),
    "cosine": one("cos", np.cos, X),
    "tangent": one("tan", np.tan, X),
    "arc cosine": one("acos", np.arccos, np.tanh(X)),
    "arc sine": one("asin", np.arcsin, np.tanh(X)),
    "arc tangent": one("atan", np.arctan, X),
    "hyperbolic cosine": one("cosh", np.cosh, X),
    "hyperbolic sine": one("sinh", np.sinh, X),
    "divided and rounded down": two("broadcasting_floor_divide", np.floor_divide, X * 9, POSITIVE),
    "integers divided and rounded down": two("broadcasting_floor_divide", np.floor_divide, INTEGERS, DIVISORS),
    "and": two("broadcasting_and", np.logical_and, X > 0, Y > 0),
    "or": two("broadcasting_or", np.logical_or, X > 0, Y > 0),
    "either": two("broadcasting_xor", np.logical_xor, X > 0, Y > 0),
    "not": one("not_", np.logical_not, X > 0),
    "integers of a picture": moved(lambda ca, x: ca.cast(x, ca.int32), lambda x: x.astype(np.int32), PICTURE),
    "cut towards zero": moved(
        lambda ca, x: ca.cast(x, ca.int32), lambda x: x.astype(np.int32), np.array([-2.7, -0.5, 0.5, 3.9], F32)
    ),
    "chosen": moved(lambda ca, c, x, y: ca.broadcasting_where(c, x, y), np.where, X > 0, X, Y),
}
ARRANGED = {
    "reshape": moved(lambda ca, x: ca.reshape(x, np.array([4, -1], np.int32)), lambda x: x.reshape(4, 6), X),
    "transpose": moved(lambda ca, x: ca.transpose(x, unsigned(2, 0, 1)), lambda x: x.transpose(2, 0, 1), X),
    "concat": moved(lambda ca, x, y: ca.concat(np.int32(1), [x, y]), lambda x, y: np.concatenate([x, y], 1), X, Y),
    "slice": moved(
        lambda ca, x: ca.slice_(x, *(np.array(v, np.int32) for v in ([0, 1, 0], [2, 3, 4], [1, 1, 2]))),
        lambda x: x[:, 1:3, ::2],
        X,
    ),
    "expand": moved(lambda ca, x: ca.expand_dims(x, np.array([1], np.int32)), lambda x: x[:, None], X),
    "broadcast": moved(
        lambda ca, x: ca.broadcast_to(x, unsigned(2, 3, 4)), lambda x: np.broadcast_to(x, (2, 3, 4)), ROW
    ),
    "split": moved(lambda ca, x: ca.split(x, unsigned(1, 3), np.int32(2))[1], lambda x: x[:, :, 1:], X),
    "reverse": moved(lambda ca, x: ca.reverse(x, np.array([2], np.int32)), lambda x: x[:, :, ::-1], X),
    "tile": moved(lambda ca, x: ca.tile(x, unsigned(2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), X),
    "maximum over axes": moved(
        lambda ca, x: ca.reduce_max(x, np.array([1, 2], np.int32)), lambda x: x.max((1, 2), keepdims=True), X
    ),
    "minimum over axes": moved(
        lambda ca, x: ca.reduce_min(x, np.array([1, 2], np.int32)), lambda x: x.min((1, 2), keepdims=True), X
    ),
    "sum over axes": moved(
        lambda ca, x: ca.reduce_sum(x, np.array([0, 2], np.int32)), lambda x: x.sum((0, 2), keepdims=True), X
    ),
    "mean over axes": moved(
        lambda ca, x: ca.reduce_mean(x, np.array([0, 2], np.int32)), lambda x: x.mean((0, 2), keepdims=True), X
    ),
    # Its definition, as coreai-core 1.0.0b3 writes it, declares the sum over an axis in the shape of all axes.
    "softmax": Case(lambda ca, x: ca.softmax(x, np.int32(1)), (X,), _softmax, defined=False),
    "largest": moved(lambda ca, x: ca.argmax(x, np.int32(1)), lambda x: x.argmax(1)[:, None], X),
}


def stored(values: np.ndarray, kind: str) -> Callable[[Any], Any]:
    """A constant of a type that NumPy has not."""

    def constant(ca: Any) -> Any:
        from coreai.authoring.constant import constant as made

        return made(values, dtype=getattr(ca, kind))

    return constant


def palette(bits: int, blocks: int) -> Case:
    """A kernel (8, 4, 3, 3) of 2^bits values for each block of output channels."""
    codes = RNG.integers(0, 1 << bits, (8, 4, 3, 3)).astype(np.uint8)
    table = normal(blocks, 1, 1, 1, 1 << bits, 1)
    rows = np.repeat(table[:, 0, 0, 0, :, 0], 8 // blocks, axis=0)
    meant = np.take_along_axis(rows, codes.reshape(8, -1).astype(int), 1).reshape(codes.shape)

    def build(ca: Any, x: Any) -> Any:
        return ca.broadcasting_add(ca.lut_to_dense(stored(codes, f"uint{bits}")(ca), table, np.int16(0)), x)

    return Case(build, (normal(8, 4, 3, 3),), lambda x: meant + x)


def linear(kind: str, low: int, high: int) -> Case:
    """A kernel of integers with a scale and a zero point for each output channel."""
    codes = RNG.integers(low, high, (8, 4, 3, 3)).astype(np.int8 if low < 0 else np.uint8)
    scale, zero = POSITIVE.ravel()[:8].reshape(8, 1, 1, 1), RNG.integers(0, 4, (8, 1, 1, 1)).astype(codes.dtype)
    meant = (codes.astype(np.float64) - zero) * scale

    def build(ca: Any, x: Any) -> Any:
        data, point = stored(codes, kind)(ca), stored(zero, kind)(ca)
        return ca.broadcasting_add(ca.blockwise_shift_scale(data, scale, point, np.zeros_like(scale)), x)

    return Case(build, (normal(8, 4, 3, 3),), lambda x: meant + x)


def dequantized(axis: Any, *shape: int) -> Case:
    codes = RNG.integers(-127, 128, (2, 3, 4)).astype(np.int8)
    scale, zero = (np.abs(normal(*shape)) + F32(0.1), RNG.integers(-3, 4, shape).astype(np.int8))
    rows = [np.reshape(each, (1, -1, 1)) for each in (scale, zero)]
    low = np.zeros(shape, F32)
    return Case(
        lambda ca, x: ca.dequantize(x, scale, zero, low, axis),
        (codes,),
        lambda x: (x.astype(np.float64) - rows[1]) * rows[0],
    )


# Elements of less than a byte: the library (1.0.0b3) writes a byte for each, which its own runtime takes for several of
# them. Those that the converter writes are packed, and tested in test_coreai_weights.py.
COMPRESSED = {
    "dequantized by channel": dequantized(np.int32(1), 3),
    "dequantized as a whole": dequantized(np.array([0, 1, 2], np.int32)),
    "a palette of 8 bits": palette(8, 1),
    "palettes for each two channels": palette(8, 4),
    "int8 per channel": linear("int8", -127, 128),
    "uint8 per channel": linear("uint8", 0, 256),
}
CASES: dict[str, Case] = WINDOWS | ELEMENTS | ARRANGED | COMPRESSED
