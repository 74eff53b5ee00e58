"""A network in integers: codes of kernels, scales, and in which steps every feature map counts.

The network is equalised first (see `equalise`), so one pair of steps serves every feature map of 8 bits and one every
map of 16: pooling, upsampling and concatenation move integers as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture, Unit

__all__ = ["COPIES", "FEATURES", "IntegerNetwork", "IntegerUnit", "Recipe", "Steps"]


@dataclass(frozen=True)
class Steps:
    """How integers stand for real numbers: real = (integer - zero) · scale."""

    dtype: np.dtype
    scale: float
    zero: int

    @classmethod
    def of(cls, detail: Mapping[str, Any]) -> "Steps | None":
        """Of an input or output as the interpreter describes it; None of one in floats, or without a scale."""
        scale, zero = detail["quantization"]
        dtype = np.dtype(detail["dtype"])
        return cls(dtype, float(scale), int(zero)) if dtype.kind in "iu" and scale > 0 else None

    @classmethod
    def between(cls, low: float, high: float, kind: str = "int8") -> "Steps":
        """The finest of `kind` that reach from `low` to `high`, 0 among them; of int16 zero is 0, as TFLite asks."""
        limits = np.iinfo(kind)
        if kind == "int16":
            return cls(np.dtype(kind), max(-low, high) / limits.max, 0)
        scale = (high - low) / (limits.max - limits.min)
        return cls(np.dtype(kind), scale, round(limits.min - low / scale))

    def as_kind(self, kind: str) -> "Steps":
        """Steps of integers of another width for what these stand for; the same ones where the width is the same.

        Of an image, or of logits, which go below 0, as far as these reach.
        """
        if self.dtype == kind:
            return self
        if self in FEATURES.values():
            return FEATURES[kind]
        limits = np.iinfo(self.dtype)
        reach = max(abs(limits.min - self.zero), abs(limits.max - self.zero)) * self.scale
        return Steps.between(-reach, reach * SIGNED, kind)

    def whole(self, x: np.ndarray) -> np.ndarray:
        """The nearest integers; what lies outside of their range is cut."""
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(x / self.scale) + self.zero, limits.min, limits.max).astype(self.dtype)

    def real(self, x: np.ndarray) -> np.ndarray:
        return (x.astype(np.float32) - self.zero) * np.float32(self.scale)

    def __str__(self) -> str:
        return f"{self.dtype.name}, scale {self.scale:.3g}, zero point {self.zero}"


# How far a map may go beyond 1, to which the calibration photographs reach. Of 8 bits as ONNX's (`onnx_qdq.HEADROOM`).
FEATURES = {"int8": Steps.between(0, 1.7), "int16": Steps.between(-4, 4, "int16")}


SIGNED = 127 / 128  # of a reach that goes both ways: 0 is a whole number then
COPIES = 4  # of the input, of a unit in more bits; see `integer_search`


@dataclass(frozen=True)
class Recipe:
    """Which units, by path, are in more than 8 bits: maps of int16, kernels of COPIES times 255 values."""

    finer: frozenset[str] = frozenset()

    def kind(self, unit: Unit) -> str:
        """The type of the maps that a unit takes and gives."""
        return "int16" if unit.path in self.finer else "int8"

    def copies(self, unit: Unit) -> int:
        return COPIES if unit.path in self.finer else 1


@dataclass(frozen=True)
class IntegerUnit:
    """One convolution: kernel = codes · scale.

    Attributes:
        codes: (O, copies · I, h, w) int8; the input stands beside itself `copies` times, which gives a weight as many
            times 255 values.
        scale: (O,) float32.
        bias: (O,) float64, a real number.
        given, answered: the steps of its input and its output.
    """

    codes: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    given: Steps
    answered: Steps
    copies: int = 1

    @property
    def kernel(self) -> np.ndarray:
        """(O, I, h, w) float32: what the copies of one input channel add up to."""
        outputs, inputs, *window = self.codes.shape
        whole = self.codes.reshape(outputs, self.copies, inputs // self.copies, *window).sum(axis=1, dtype=np.int32)
        return (whole * self.scale[:, None, None, None]).astype(np.float32)

    @property
    def whole_bias(self) -> np.ndarray:
        """In steps of the accumulator: int32, of maps in int16 int64."""
        kind = np.int64 if self.given.dtype == np.int16 else np.int32
        limits = np.iinfo(np.int32)
        both = self.scale.astype(np.float64) * self.given.scale
        return np.rint(self.bias / both).clip(limits.min, limits.max).astype(kind)


@dataclass(frozen=True)
class IntegerNetwork:
    """What a file of integers holds.

    Attributes:
        units: by path.
        image: the steps of the input.
    """

    arch: Architecture
    units: Mapping[str, IntegerUnit]
    image: Steps
