"""The element types of MIL: one row each, under the names that MIL itself uses (`fp16`, `int32`, `uint4` …)."""

from dataclasses import dataclass

import numpy as np

from u2net_zoo.errors import ArtifactError

__all__ = ["BY_NAME", "BY_PROTO", "STRING", "DataType", "unpack"]


@dataclass(frozen=True)
class DataType:
    """One element type.

    Attributes:
        name: MIL's name.
        proto: number in the program (`DataType` of Apple's MIL.proto).
        storage: number in a weight file (BlobDataType of MIL's storage format), None where it cannot be there.
        bits: width of one packed element.
        array: NumPy type in memory; elements of less than a byte are unpacked into bytes.
    """

    name: str
    proto: int
    storage: int | None
    bits: int
    array: np.dtype

    @property
    def signed(self) -> bool:
        return self.array.kind == "i"

    def nbytes(self, count: int) -> int:
        """Size of `count` packed elements."""
        return (count * self.bits + 7) // 8


def _rows() -> tuple[DataType, ...]:
    table: list[tuple[str, int, int | None, int, type]] = [
        ("bool", 1, None, 8, np.bool_),
        ("fp16", 10, 1, 16, np.float16),
        ("fp32", 11, 2, 32, np.float32),
        ("fp64", 12, None, 64, np.float64),
        ("int8", 21, 4, 8, np.int8),
        ("int16", 22, 6, 16, np.int16),
        ("int32", 23, 14, 32, np.int32),
        ("int64", 24, None, 64, np.int64),
        ("int4", 25, 8, 4, np.int8),
        ("uint8", 31, 3, 8, np.uint8),
        ("uint16", 32, 7, 16, np.uint16),
        ("uint32", 33, 15, 32, np.uint32),
        ("uint64", 34, None, 64, np.uint64),
        ("uint4", 35, 11, 4, np.uint8),
        ("uint2", 36, 10, 2, np.uint8),
        ("uint1", 37, 9, 1, np.uint8),
        ("uint6", 38, 13, 6, np.uint8),
        ("uint3", 39, 12, 3, np.uint8),
    ]
    return tuple(DataType(name, proto, blob, bits, np.dtype(array)) for name, proto, blob, bits, array in table)


STRING = 2  # DataType.STRING of MIL.proto: no array
BY_PROTO = {row.proto: row for row in _rows()}
BY_NAME = {row.name: row for row in _rows()}


def unpack(raw: bytes, dtype: DataType, count: int) -> np.ndarray:
    """`count` elements of `dtype` from little-endian bytes; elements of less than a byte start at the lowest bit.

    Raises:
        ArtifactError: `raw` is not exactly as long as `count` elements are.
    """
    if len(raw) != dtype.nbytes(count):
        raise ArtifactError(f"{len(raw)} bytes for {count} elements of {dtype.name}, which take {dtype.nbytes(count)}")
    if dtype.bits >= 8:
        return np.frombuffer(raw, dtype.array.newbyteorder("<")).astype(dtype.array)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[: count * dtype.bits]
    columns = bits.reshape(count, dtype.bits)
    values = np.zeros(count, np.uint8)
    for place in range(dtype.bits):
        values += columns[:, place] * np.uint8(1 << place)
    if not dtype.signed:
        return values
    spare = 8 - dtype.bits  # shifting up and back copies the sign bit
    return (values << spare).view(np.int8) >> spare
