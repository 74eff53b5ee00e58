"""Runs a module of this package under another Python, which sees nothing else of what is installed beside it.

    python -I bootstrap.py MODULE ARGUMENTS…

A program, run as a file. Where this package is installed its folder lies among all others of that environment, which
the other Python must not import: they are of other versions. So that folder does not join `sys.path`.
"""

import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OURS = ("converters", "u2net_zoo")
PLACE = str(Path(__file__).resolve().parents[2])


class Ours(PathFinder):
    """Finds the packages `OURS` in their place; what is inside them is found through them."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return super().find_spec(fullname, [PLACE], target) if fullname in OURS else None


def main() -> None:
    sys.meta_path.insert(0, Ours)
    module = sys.argv[1]
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
