"""Loads a `.pte` file and runs it once on zeros, in this process, which may end with it.

python -m converters.formats.executorch_trial model.pte [data.ptd]
"""

import sys
from pathlib import Path

import numpy as np

from u2net_zoo.errors import U2ZooError

from .executorch_library import LoadedMethod
from .executorch_program import parsed_program

__all__ = ["main"]


def main(path: Path, data: Path | None = None) -> int:
    """0 where the process lived, whether it could be run or not: that is told by who asked."""
    method = parsed_program(path).method
    try:
        loaded = LoadedMethod(path.read_bytes(), method.name, data)
        loaded(np.zeros(method.shape(method.inputs[0]), np.float32))
    except U2ZooError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
