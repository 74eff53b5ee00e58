"""The ops, one file per group. Importing this package registers them all.

Parameters keep MIL's names, meanings and defaults, for every version of an op from iOS 15 to iOS 18.
Source of every definition: the op's docstring below `coremltools/converters/mil/mil/ops/defs`, unless stated otherwise.
"""

from . import (
    activation,
    binary,
    constexpr,
    conv,
    indexing,
    joining,
    linear,
    normalization,
    pool,
    quantization,
    reduction,
    resize,
    shape,
    unary,
)

__all__ = [
    "activation",
    "binary",
    "constexpr",
    "conv",
    "indexing",
    "joining",
    "linear",
    "normalization",
    "pool",
    "quantization",
    "reduction",
    "resize",
    "shape",
    "unary",
]
