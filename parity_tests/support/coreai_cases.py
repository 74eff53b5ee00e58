"""Operations of Core AI, each with what it means in NumPy or Torch: what the evaluator's tests go through.

A case is built with Apple's authoring library (`coreai_makers.py`), saved, and evaluated from disk.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from support.coreai_case import F16, F32, RNG, Case, normal, stored, unsigned
from support.coreai_cases_windows import WINDOWS

__all__ = ["CASES"]


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
