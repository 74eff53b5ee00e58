"""HDF5 files -> arrays and attributes, read by a process of its own.

The HDF5 library trusts what a file says: one flipped bit can end the process or send it round in circles. So a child
with a limit on time and memory reads the file, and hands back nothing but numbers and text.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import CheckpointError, MissingExtraError
from u2net_zoo.limits import LARGEST
from u2net_zoo.system import ending

__all__ = ["Tree", "load"]

CPU_SECONDS = 6  # U²-Net's 176 MB take half a second
SECONDS = 60  # by the clock, where nothing else ends it
MEMORY = 3 << 30  # of address space; the libraries alone map a gigabyte
NODES = 20_000
WORKER = Path(__file__).with_name("hdf5_worker.py")


@dataclass(frozen=True)
class Tree:
    """What a file holds: arrays (float32) and textual attributes, by paths such as `model_weights/conv2d`."""

    arrays: dict[str, np.ndarray]
    attributes: dict[str, dict[str, Any]]

    def has(self, path: str) -> bool:
        return path in self.attributes or path in self.arrays

    def array(self, path: str) -> np.ndarray:
        """Raises CheckpointError when it is missing."""
        if path not in self.arrays:
            raise CheckpointError(f"{path}: the weights are missing, or are not floating-point numbers")
        return self.arrays[path]

    def children(self, path: str) -> list[str]:
        """Names of the groups and arrays directly below `path`."""
        inside = f"{path}/"
        found = (
            name[len(inside) :].partition("/")[0]
            for name in (*self.attributes, *self.arrays)
            if name.startswith(inside)
        )
        return list(dict.fromkeys(found))


def load(source: Path | bytes) -> Tree:
    """Everything in a file, or in the bytes of one.

    Raises:
        CheckpointError: damaged; too large; or with links, external or virtual storage that point out of it.
    """
    if find_spec("h5py") is None:
        raise MissingExtraError("reading HDF5", "h5py", "h5")
    given = "-" if isinstance(source, bytes) else str(source.resolve())
    limits = (CPU_SECONDS, MEMORY, LARGEST, NODES)
    # -P: what lies beside the worker, or in the current directory, takes no library's place.
    command = [sys.executable, "-P", str(WORKER), given, *map(str, limits)]
    given_bytes = source if isinstance(source, bytes) else b""
    try:
        done = subprocess.run(command, input=given_bytes, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise CheckpointError(
            f"the HDF5 library did not end within {SECONDS} s: the file is damaged, or the machine is busy"
        ) from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"the HDF5 library gave up, {ending(done.returncode)}"
        raise CheckpointError(f"damaged HDF5 file ({reason[:150]})")
    return _tree(done.stdout)


def _tree(answer: bytes) -> Tree:
    head, _, content = answer.partition(b"\n")
    found = json.loads(head)
    if found["elsewhere"]:
        raise CheckpointError(f"{found['elsewhere'][0]}: a link, or storage outside the file itself; refused")
    arrays, place = {}, 0
    for path, shape in found["shapes"]:
        count = int(np.prod(shape, dtype=object))
        arrays[path] = np.frombuffer(content, "<f4", count, place).reshape(shape)
        place += 4 * count
    return Tree(arrays, found["attributes"])
