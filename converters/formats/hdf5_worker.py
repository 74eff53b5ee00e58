"""Reads an HDF5 file in a process of its own: a program, run as a file, that imports `system` and what h5py brings.

    python -P hdf5_worker.py SOURCE CPU_SECONDS MEMORY LARGEST NODES

SOURCE is a path, or `-` for the bytes on standard input; see `hdf5` for the limits. It answers on standard output: one
line of JSON, then the arrays' bytes one after another. What goes wrong is the last line of standard error.
"""

import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def main() -> None:
    source, *numbers = sys.argv[1:]
    cpu_seconds, memory, largest, nodes = map(int, numbers)
    _limit(cpu_seconds, memory)
    import h5py  # within the limits, as everything from here on

    file = h5py.File(io.BytesIO(sys.stdin.buffer.read()) if source == "-" else source, "r")
    contents = Contents(largest, nodes)
    contents.walk(file)
    contents.send(sys.stdout.buffer)


def _limit(cpu_seconds: int, memory: int) -> None:
    sys.path.append(str(Path(__file__).parents[2]))  # last: what lies there takes no library's place
    from u2net_zoo.system import limit_process

    limit_process(cpu_seconds, memory)


@dataclass
class Contents:
    """What was found in a file.

    Attributes:
        largest: bytes of float32 weights that are too many when there are more; `nodes`: groups and arrays.
        attributes: textual ones of every group, by its path.
        elsewhere: paths of what points out of the file: links, external and virtual storage.
    """

    largest: int
    nodes: int
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    shapes: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    arrays: list["np.ndarray"] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    total: int = 0

    def walk(self, root: Any) -> None:
        """Raises SystemExit for what is too large."""
        import h5py

        stack, seen = [("", root)], 0
        while stack:
            path, item = stack.pop()
            seen += 1
            if seen > self.nodes:
                raise SystemExit(f"more than {self.nodes} groups and arrays")
            if isinstance(item, h5py.Group):
                stack.extend(self._enter(path, item))
            elif isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
                self._take(path, item)

    def _enter(self, path: str, group: Any) -> list[tuple[str, Any]]:
        """What stands in a group, by path; links are noted, not followed."""
        import h5py

        self.attributes[path] = _textual(group)
        inside = []
        for name in group:
            inner = f"{path}/{name}" if path else name
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                inside.append((inner, group[name]))
            else:
                self.elsewhere.append(inner)
        return inside

    def _take(self, path: str, dataset: Any) -> None:
        import numpy as np

        if dataset.external or dataset.is_virtual:
            self.elsewhere.append(path)
            return
        self.total += dataset.size * 4
        if self.total > self.largest:
            raise SystemExit(f"more than {self.largest} bytes of weights")
        self.shapes.append((path, dataset.shape))
        self.arrays.append(np.ascontiguousarray(dataset[()], "<f4"))

    def send(self, out: Any) -> None:
        head = {"attributes": self.attributes, "shapes": self.shapes, "elsewhere": self.elsewhere}
        out.write(json.dumps(head).encode() + b"\n")
        for array in self.arrays:
            out.write(array.tobytes())


def _textual(item: Any) -> dict[str, Any]:
    found = {key: _plain(value) for key, value in item.attrs.items()}
    return {key: value for key, value in found.items() if isinstance(value, str | list)}


def _plain(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.ravel().tolist()]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()
