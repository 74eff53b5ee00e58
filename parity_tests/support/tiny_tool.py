"""A tool that is one small module, `tiny`: quick to make, from a wheel that is written here. Run as a file it is
`u2zoo` with this tool beside its own."""

import os
import sys
import zipfile
from pathlib import Path

from converters.tools import TOOLS, Tool

NAME = "tiny-1.0-py3-none-any.whl"


class Tiny(Tool):
    @property
    def pins(self) -> str:
        return os.environ.get("TINY_PINS", "# by hand\ntiny==1.0\n")


TINY = Tiny("tiny", "a small module", "a test", (sys.version_info[:2],), 10_000_000)


def write_wheel(folder: Path) -> Path:
    """`tiny` 1.0; `tiny.WORD` is "here"."""
    info = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "WORD = 'here'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return folder / NAME


if __name__ == "__main__":
    from u2net_zoo.cli import main

    TOOLS["tiny"] = TINY
    main()
