"""Cases of ops that work element by element, of reductions, normalisations and products: against NumPy."""

from math import erf

import numpy as np
from support.mil_programs import arrays, case, mb

__all__ = ["CASES"]

X, Y = arrays((1, 3, 4, 5), (1, 3, 1, 5), seed=1)
POSITIVE = np.abs(X) + 0.1
UNIT = X / 2.5
INTEGERS, DIVISORS = (np.arange(-6, 6, dtype=np.int32).reshape(3, 4), np.array([[3, -2, 1, -4]], np.int32))


def unary(name, function, x=X, **options):
    return case(name, x, lambda x: getattr(mb, name)(x=x), function, **options)


def channels(vector):
    return np.asarray(vector, np.float32).reshape(-1, 1, 1)


UNARY = [
    unary("abs", np.abs),
    unary("abs", np.abs, INTEGERS, note="int32"),
    unary("acos", np.arccos, UNIT),
    unary("asin", np.arcsin, UNIT),
    unary("atan", np.arctan),
    unary("atanh", np.arctanh, UNIT, tolerance=1e-5),
    unary("ceil", np.ceil),
    unary("cos", np.cos),
    unary("cosh", np.cosh),
    unary("erf", np.vectorize(erf)),
    unary("exp", np.exp),
    unary("exp2", np.exp2),
    unary("floor", np.floor),
    unary("identity", lambda x: x),
    unary("round", np.rint, np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.6]], np.float32), note="half-to-even"),
    unary("sign", np.sign),
    unary("sin", np.sin),
    unary("sinh", np.sinh),
    unary("sqrt", np.sqrt, POSITIVE),
    unary("square", np.square),
    unary("tan", np.tan, UNIT),
    unary("tanh", np.tanh),
    unary("inverse", lambda x: 1 / (x + 1e-4), POSITIVE, tolerance=1e-5),
    unary("log", np.log, POSITIVE),
    unary("rsqrt", lambda x: 1 / np.sqrt(x + 1e-12), POSITIVE),
    case("rsqrt", POSITIVE, lambda x: mb.rsqrt(x=x, epsilon=0.5), lambda x: 1 / np.sqrt(x + 0.5), note="epsilon"),
    case("clip", X, lambda x: mb.clip(x=x, alpha=-0.5, beta=1.0), lambda x: np.clip(x, -0.5, 1)),
    case("threshold", X, lambda x: mb.threshold(x=x, alpha=0.3), lambda x: np.maximum(x, 0.3)),
    case(
        "logical_not", X, lambda x: mb.logical_not(x=mb.greater(x=x, y=0.0)), lambda x: ~(x > 0)
    ),
]  # fmt: skip

ACTIVATIONS = [
    unary("relu", lambda x: np.maximum(x, 0)),
    unary("relu6", lambda x: np.clip(x, 0, 6), X * 5),
    unary("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    unary("silu", lambda x: x / (1 + np.exp(-x))),
    unary("softplus", lambda x: np.log1p(np.exp(x.astype(np.float64)))),
    unary("softplus", lambda x: x, np.array([[50.0, 100.0]], np.float32), note="large"),
    unary("softsign", lambda x: x / (1 + np.abs(x))),
    case("leaky_relu", X, lambda x: mb.leaky_relu(x=x, alpha=0.1), lambda x: np.where(x < 0, 0.1 * x, x)),
    case("elu", X, lambda x: mb.elu(x=x, alpha=0.7), lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1))),
    case(
        "prelu", X, lambda x: mb.prelu(x=x, alpha=np.float32([0.1, 0.2, -1])),
        lambda x: np.where(x > 0, x, x * channels([0.1, 0.2, -1])),
    ),
    case(
        "clamped_relu", X, lambda x: mb.clamped_relu(x=x, alpha=2.0, beta=1.0),
        lambda x: np.minimum(1, np.where(x >= 0, x, 2 * x)),
    ),
    case("thresholded_relu", X, lambda x: mb.thresholded_relu(x=x, alpha=0.5), lambda x: np.where(x >= 0.5, x, 0)),
    case(
        "sigmoid_hard", X, lambda x: mb.sigmoid_hard(x=x, alpha=0.4, beta=0.3), lambda x: np.clip(0.4 * x + 0.3, 0, 1),
    ),
    case(
        "softplus_parametric", X,
        lambda x: mb.softplus_parametric(x=x, alpha=np.float32([1, 2, 3]), beta=np.float32([1, 0.5, -1])),
        lambda x: channels([1, 2, 3]) * np.log1p(np.exp(x * channels([1, 0.5, -1]))),
    ),
    case("scaled_tanh", X, lambda x: mb.scaled_tanh(x=x, alpha=1.5, beta=0.5), lambda x: 1.5 * np.tanh(0.5 * x)),
    case("linear_activation", X, lambda x: mb.linear_activation(x=x, alpha=3.0, beta=1.0), lambda x: 3 * x + 1),
    case(
        "softmax", X, lambda x: mb.softmax(x=x, axis=1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)
    ),
    case("softmax", X, lambda x: mb.softmax(x=x), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True), note="last"),
    unary("gelu", lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2),
    case(
        "gelu", X, lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), note="tanh",
    ),
    case(
        "gelu", X, lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"), lambda x: x / (1 + np.exp(-1.702 * x)),
        note="sigmoid",
    ),
]  # fmt: skip


def binary(name, function, x=X, y=Y, **options):
    return case(name, (x, y), lambda x, y: getattr(mb, name)(x=x, y=y), function, **options)


def logical(name, function):
    def build(x, y):
        return getattr(mb, name)(x=mb.greater(x=x, y=0.0), y=mb.greater(x=y, y=0.0))

    return case(name, (X, Y), build, lambda x, y: function(x > 0, y > 0))


ROUNDED = (np.rint(X), np.rint(Y))
BINARY = [
    binary("add", np.add),
    binary("sub", np.subtract),
    binary("mul", np.multiply),
    binary("real_div", np.divide, y=np.abs(Y) + 1),
    binary("real_div", lambda x, y: np.trunc(x / y), INTEGERS, DIVISORS, note="int32"),
    binary("maximum", np.maximum),
    binary("minimum", np.minimum),
    binary("pow", np.power, POSITIVE),
    binary("floor_div", np.floor_divide, INTEGERS, DIVISORS),
    binary("mod", np.mod, INTEGERS, DIVISORS),
    binary("equal", np.equal, *ROUNDED),
    binary("not_equal", np.not_equal, *ROUNDED),
    binary("greater", np.greater),
    binary("greater_equal", np.greater_equal, *ROUNDED),
    binary("less", np.less),
    binary("less_equal", np.less_equal, *ROUNDED),
    logical("logical_and", np.logical_and),
    logical("logical_or", np.logical_or),
    logical("logical_xor", np.logical_xor),
    case(
        "select", (X, Y), lambda x, y: mb.select(cond=mb.greater(x=x, y=0.0), a=x, b=y),
        lambda x, y: np.where(x > 0, x, y),
    ),
]  # fmt: skip


def cast(dtype, x, expected, note):
    return case("cast", x, lambda x: mb.cast(x=mb.cast(x=x, dtype=dtype), dtype="fp32"), expected, note=note)


NUMBERS = np.array([-300.7, -1.9, -0.5, 0.0, 0.5, 1.9, 127.6, 255.4, 300.2, 70000.0], np.float32)
CASTS = [
    cast("int32", NUMBERS, np.trunc, "int32"),
    cast("int16", NUMBERS, lambda x: np.clip(np.trunc(x), -32768, 32767), "int16-saturates"),
    cast("int8", NUMBERS, lambda x: np.clip(np.trunc(x), -128, 127), "int8-saturates"),
    cast("uint8", NUMBERS, lambda x: np.clip(np.trunc(x), 0, 255), "uint8-saturates"),
    cast("uint16", NUMBERS, lambda x: np.clip(np.trunc(x), 0, 65535), "uint16-saturates"),
    case(
        "cast", np.arange(-300, 300, 70, dtype=np.int32),
        lambda x: mb.cast(x=mb.cast(x=x, dtype="uint8"), dtype="int32"), lambda x: np.clip(x, 0, 255),
        note="from-int32",
    ),
    cast("fp16", NUMBERS, lambda x: x.astype(np.float16), "fp16-overflows"),
    cast("bool", NUMBERS, lambda x: x != 0, "bool"),
    case(
        "cast", np.float32([np.nan, np.inf, -3e9]), lambda x: mb.cast(x=x, dtype="int32"), [0, 2**31 - 1, -(2**31)],
        note="nan",
    ),
]  # fmt: skip


def reduction(name, function, x=X, **options):
    return [
        case(name, x, lambda x: getattr(mb, name)(x=x, axes=[1, -1]), lambda x: function(x, (1, 3)), **options),
        case(
            name, x, lambda x: getattr(mb, name)(x=x, axes=[2], keep_dims=True),
            lambda x: np.expand_dims(function(x, (2,)), 2), **{**options, "note": "keep"},
        ),
        case(name, x, lambda x: getattr(mb, name)(x=x), lambda x: function(x, None), **{**options, "note": "all"}),
    ]  # fmt: skip


REDUCTIONS = [
    *reduction("reduce_max", np.max),
    *reduction("reduce_min", np.min),
    *reduction("reduce_mean", np.mean),
    *reduction("reduce_sum", np.sum, tolerance=1e-5),
    *reduction("reduce_prod", np.prod),
    *reduction("reduce_l1_norm", lambda x, a: np.abs(x).sum(a), tolerance=1e-5),
    *reduction("reduce_l2_norm", lambda x, a: np.sqrt(np.square(x).sum(a))),
    *reduction("reduce_log_sum", lambda x, a: np.log(np.sum(x, a)), POSITIVE),
    *reduction("reduce_log_sum_exp", lambda x, a: np.log(np.exp(x).sum(a))),
    *reduction("reduce_sum_square", lambda x, a: np.square(x).sum(a), tolerance=1e-5),
    case("reduce_sum", INTEGERS, lambda x: mb.reduce_sum(x=x, axes=[0]), INTEGERS.sum(0), note="int32"),
    case("reduce_mean", INTEGERS, lambda x: mb.reduce_mean(x=x, axes=[1]), np.trunc(INTEGERS.mean(1)), note="int32"),
    case("reduce_argmax", X, lambda x: mb.reduce_argmax(x=x, axis=1), lambda x: x.argmax(1)),
    case(
        "reduce_argmax", X, lambda x: mb.reduce_argmax(x=x, keep_dims=True), lambda x: x.argmax(-1)[..., None],
        note="keep",
    ),
    case("reduce_argmin", X, lambda x: mb.reduce_argmin(x=x, axis=-2), lambda x: x.argmin(2)),
]  # fmt: skip

GAMMA, BETA, MEAN, VAR = arrays((3,), (3,), (3,), (3,), seed=4, low=0.5, high=1.5)


def standardized(x, axes, eps):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


NORMS = [
    case(
        "batch_norm", X,
        lambda x: mb.batch_norm(x=x, mean=MEAN, variance=VAR, gamma=GAMMA, beta=BETA, epsilon=np.float32(1e-3)),
        lambda x: (x - channels(MEAN)) / np.sqrt(channels(VAR) + 1e-3) * channels(GAMMA) + channels(BETA),
    ),
    case(
        "batch_norm", X, lambda x: mb.batch_norm(x=x, mean=MEAN, variance=VAR),
        lambda x: (x - channels(MEAN)) / np.sqrt(channels(VAR) + 1e-5), note="defaults",
    ),
    case(
        "instance_norm", X, lambda x: mb.instance_norm(x=x, gamma=GAMMA, beta=BETA, epsilon=1e-4),
        lambda x: standardized(x, (2, 3), 1e-4) * channels(GAMMA) + channels(BETA),
    ),
    case(
        "layer_norm", X, lambda x: mb.layer_norm(x=x, axes=[1, 2, 3], epsilon=1e-4),
        lambda x: standardized(x, (1, 2, 3), 1e-4),
    ),
    case(
        "layer_norm", X,
        lambda x: mb.layer_norm(x=x, axes=[-1], gamma=np.float32(range(5)), beta=np.ones(5, np.float32)),
        lambda x: standardized(x, -1, 1e-5) * np.arange(5) + 1, note="gamma",
    ),
    case("l2_norm", X, lambda x: mb.l2_norm(x=x, epsilon=1e-3), lambda x: x / np.sqrt(np.square(x).sum() + 1e-3)),
    case(
        "linear", X, lambda x: mb.linear(x=mb.squeeze(x=x, axes=[0]), weight=X[0, :, :, :5][0], bias=X[0, 0, :4, 0]),
        lambda x: x[0] @ X[0, 0].T + X[0, 0, :4, 0],
    ),
    case("matmul", (X, X), lambda x, y: mb.matmul(x=x, y=y, transpose_y=True), lambda x, y: x @ np.swapaxes(y, -1, -2)),
    case(
        "matmul", (X, X), lambda x, y: mb.matmul(x=x, y=y, transpose_x=True), lambda x, y: np.swapaxes(x, -1, -2) @ y,
        note="left",
    ),
]  # fmt: skip

CASES = [*UNARY, *ACTIVATIONS, *BINARY, *CASTS, *REDUCTIONS, *NORMS]
