"""Weight files of ML Programs: `weights/weight.bin`, MIL's storage format, version 2.

A 64-byte header (uint32 count of blobs, uint32 version), then blobs. A blob starts with 64 bytes of metadata at a
multiple of 64: uint32 0xDEADBEEF, uint32 type, uint64 size in bytes, uint64 offset of the data, uint64 unused bits at
the end of the data. Little-endian throughout. The program refers to a blob by the offset of its metadata.
Source: what coremltools' BlobWriter writes, for each of its types.
"""

import struct
from pathlib import Path

import numpy as np

from u2net_zoo.errors import ArtifactError

from .dtypes import DataType, unpack

__all__ = ["WeightFile"]

VERSION = 2
SENTINEL = 0xDEADBEEF
BLOCK = 64
HEADER = struct.Struct("<II")
METADATA = struct.Struct("<IIQQQ")


class WeightFile:
    """A weight file, read blob by blob.

    Raises (the constructor and every method):
        ArtifactError: the file is missing, truncated, or not what the program says it is.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise ArtifactError(f"weight file {path.name!r} is missing from the package")
        self.size = path.stat().st_size
        version = HEADER.unpack(self._bytes(0, HEADER.size))[1]
        if version != VERSION:
            raise ArtifactError(f"{path.name}: storage version {version}; only {VERSION} is known")

    def check(self, offset: int, dtype: DataType, count: int) -> tuple[int, int]:
        """(offset, size) of the data of the blob at `offset`, which has to hold `count` elements of `dtype`."""
        if offset % BLOCK or offset < BLOCK:
            raise ArtifactError(f"{self.path.name}: offset {offset} is not that of a blob (a multiple of {BLOCK})")
        sentinel, kind, size, start, _ = METADATA.unpack(self._bytes(offset, METADATA.size))
        if sentinel != SENTINEL:
            raise ArtifactError(f"{self.path.name}: no blob starts at offset {offset}")
        if kind != dtype.storage:
            raise ArtifactError(f"{self.path.name}: blob at {offset} has type {kind}, the program says {dtype.name}")
        if size != dtype.nbytes(count):
            raise ArtifactError(
                f"{self.path.name}: blob at {offset} has {size} bytes; {count} elements of {dtype.name} "
                f"take {dtype.nbytes(count)}"
            )
        self._check_range(start, size)
        return start, size

    def read(self, offset: int, dtype: DataType, count: int) -> np.ndarray:
        """The elements of the blob at `offset`, a flat array of its own."""
        start, size = self.check(offset, dtype, count)
        return unpack(self._bytes(start, size), dtype, count)

    def _bytes(self, start: int, size: int) -> bytes:
        self._check_range(start, size)
        with self.path.open("rb") as file:
            file.seek(start)
            raw = file.read(size)
        if len(raw) != size:
            raise ArtifactError(f"{self.path.name}: it shrank while it was read")
        return raw

    def _check_range(self, start: int, size: int) -> None:
        if start + size > self.size:
            raise ArtifactError(
                f"{self.path.name}: truncated, or a wrong offset: bytes {start} to {start + size} are wanted, "
                f"it has {self.size}"
            )
