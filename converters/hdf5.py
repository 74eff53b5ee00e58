"""HDF5 files -> arrays and attributes, read by a process of its own.

The HDF5 library trusts what a file says: one flipped bit can end the process or send it round in circles. So a child
with a limit on time and memory reads the file, and hands back nothing but numbers and text.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import CheckpointError, MissingExtraError
from u2net_zoo.limits import LARGEST

__all__ = ["Tree", "load"]

CPU_SECONDS = 6  # U²-Net's 176 MB take half a second
MEMORY = 3 << 30  # of address space; the libraries alone map a gigabyte
NODES = 20_000

# Runs in the child: only what h5py brings. First a line of JSON, then the arrays' bytes one after another.
CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]),) * 2)
import io, json
import numpy as np
import h5py

largest, most = int(sys.argv[4]), int(sys.argv[5])
attributes, shapes, arrays, elsewhere, total = {}, [], [], [], 0

def text(value):
    if isinstance(value, np.ndarray):
        return [text(item) for item in value.ravel().tolist()]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

def kept(item):
    found = {key: text(value) for key, value in item.attrs.items()}
    return {key: value for key, value in found.items() if isinstance(value, (str, list))}

stack, nodes = [("", h5py.File(io.BytesIO(sys.stdin.buffer.read()) if sys.argv[1] == "-" else sys.argv[1], "r"))], 0
while stack:
    path, item = stack.pop()
    nodes += 1
    if nodes > most:
        raise SystemExit("more than %d groups and arrays" % most)
    if isinstance(item, h5py.Group):
        attributes[path] = kept(item)
        for name in item:
            inner = path + "/" + name if path else name
            if isinstance(item.get(name, getlink=True), h5py.HardLink):
                stack.append((inner, item[name]))
            else:
                elsewhere.append(inner)
    elif isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
        if item.external or item.is_virtual:
            elsewhere.append(path)
            continue
        total += item.size * 4
        if total > largest:
            raise SystemExit("more than %d bytes of weights" % largest)
        shapes.append([path, item.shape])
        arrays.append(np.ascontiguousarray(item[()], "<f4"))
out = sys.stdout.buffer
out.write(json.dumps({"attributes": attributes, "shapes": shapes, "elsewhere": elsewhere}).encode() + b"\\n")
for array in arrays:
    out.write(array.tobytes())
"""


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
    given = "-" if isinstance(source, bytes) else str(source.resolve())
    limits = (CPU_SECONDS, MEMORY, LARGEST, NODES)
    command = [sys.executable, "-c", CHILD, given, *map(str, limits)]
    done = subprocess.run(command, input=source if isinstance(source, bytes) else b"", capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"the HDF5 library gave up, signal {-done.returncode}"
        if "No module named 'h5py'" in reason:
            raise MissingExtraError("reading HDF5", "h5py", "h5")
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
