"""Kernels as MNN stores them: float32, float16, int8, and integers packed as indices into a table.

Source: `IDSTQuan` of the schema; the packed form as MNN's own decoder reads it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from u2net_zoo.errors import CheckpointError

from ..quantise.rounding import int8_codes
from .flat_tables import Packed, Table
from .mnn_schema import Conv, Quan, Stored

__all__ = ["kernel_values", "stored_kernel"]

OLD = 1e-6  # below it a scale is none


def stored_kernel(kernel: np.ndarray, precision: str) -> dict[int, Any]:
    """The fields of `Convolution2D` that hold `kernel`: int8 for what int8 holds exactly, then float16 for the rest."""
    if precision == "fp32":
        return {Conv.weight: kernel.astype("<f4", copy=False)}
    codes, scale = int8_codes(kernel)
    if precision == "int8" and np.array_equal(codes * scale[:, None, None, None], kernel):
        fields: dict[int, Any] = {Quan.buffer: codes, Quan.alpha: scale.astype("<f4"), Quan.scale: 1.0}
        return {Conv.quan: Packed(fields | {Quan.kind: int(Stored.int8), Quan.bits: 8, Quan.least: -128})}
    return {Conv.quan: Packed({Quan.buffer: kernel.astype("<f2").view(np.int8), Quan.kind: int(Stored.half)})}


def kernel_values(conv: Table, out: int, count: int, name: str) -> tuple[np.ndarray, str]:
    """(`count` numbers of a kernel as float32, how integers store them: `int8 per channel`, or empty).

    Raises:
        CheckpointError: stored in a way that is not read. ValueError: damaged.
    """
    if len(conv.array(Conv.external, "<i8")):
        raise CheckpointError(
            f"{name}: its weights are in another file, which is not read; save the model in one piece"
        )
    if Conv.quan not in conv:
        return conv.array(Conv.weight, "<f4"), ""
    quan = conv.table(Conv.quan)
    buffer, kind = quan.array(Quan.buffer, "u1"), quan.integer(Quan.kind)
    if kind == Stored.half:
        return np.frombuffer(buffer[: 2 * count].tobytes(), "<f2").astype(np.float32), ""
    if kind not in (Stored.table, Stored.int8) or quan.byte(Quan.scale_storage):
        raise CheckpointError(
            f"{name}: weights of kind {kind}; read are float32, float16 and integers, not sparse ones"
        )
    scales = _Scales.of(quan, out, name)
    wide = quan.flag(Quan.wide_shape)
    codes = buffer[:count].view(np.int8) if kind == Stored.int8 else _Stream(buffer, wide).codes(count)
    return scales.real(codes), scales.storage


@dataclass(frozen=True)
class _Scales:
    """Of a kernel's codes: real = code · step + start, for each of equal groups of codes; a channel has one or more."""

    steps: np.ndarray
    starts: np.ndarray
    storage: str

    @classmethod
    def of(cls, quan: Table, out: int, name: str) -> "_Scales":
        alpha, least = quan.array(Quan.alpha, "<f4"), quan.integer(Quan.least)
        factor, bits = quan.real(Quan.scale), quan.integer(Quan.bits) or 8
        old = quan.integer(Quan.kind) == Stored.int8 and not least and abs(factor) < OLD
        pairs = bool(quan.integer(Quan.channels)) or old
        groups = len(alpha) // 2 if pairs else len(alpha)
        if groups < 1 or groups % out or len(alpha) % (1 + pairs):
            raise CheckpointError(f"{name}: {len(alpha)} scales for {out} channels")
        storage = f"int{bits} per channel"
        if not pairs:
            return cls(alpha * np.float32(factor or 1.0), np.zeros(groups, np.float32), storage)
        starts, steps = alpha.reshape(-1, 2).T
        return cls(steps, starts - np.float32(least or -(1 << (min(bits, 8) - 1))) * steps, storage)

    def real(self, codes: np.ndarray) -> np.ndarray:
        """Raises ValueError: codes that are no equal groups."""
        rows = codes.reshape(len(self.steps), -1).astype(np.float32)
        return (rows * self.steps[:, None] + self.starts[:, None]).reshape(-1)


class _Stream:
    """A packed kernel: its shape, then what it is packed as. Raises ValueError where it ends too early."""

    def __init__(self, buffer: np.ndarray, wide_shape: bool):
        self.buffer, self.place = buffer, 0
        dims = int(self.take(1)[0])
        self.take(dims * (4 if wide_shape else 2))

    def take(self, count: int) -> np.ndarray:
        if not 0 <= count <= len(self.buffer) - self.place:
            raise ValueError("a kernel's codes end too early")
        self.place += count
        return self.buffer[self.place - count : self.place]

    def packed(self, count: int, bits: int) -> np.ndarray:
        """`count` numbers of `bits` bits each, the highest bit first."""
        if not 1 <= bits <= 8:
            raise ValueError(f"codes of {bits} bits")
        stored = np.unpackbits(self.take((count * bits + 7) // 8), count=count * bits).reshape(count, bits)
        return np.packbits(stored, axis=1).reshape(-1) >> (8 - bits)

    def codes(self, count: int) -> np.ndarray:
        table = np.sort(self.take(int(self.take(1)[0]) or 256).view(np.int8))
        bits = max(1, (len(table) - 1).bit_length())
        return table[self.packed(count, bits)]
