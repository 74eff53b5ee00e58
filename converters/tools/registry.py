"""All tools. A new one is an entry here, and its list of pins beside this file."""

import sys
from dataclasses import dataclass
from pathlib import Path

from u2net_zoo.errors import UnknownNameError, UsageError
from u2net_zoo.system import system_name

__all__ = ["TOOLS", "Tool", "get_tool"]


@dataclass(frozen=True)
class Tool:
    """A program of others whose pins fit no environment but its own.

    Attributes:
        name: of the tool, of its folder in the cache, and of its list of pins, `NAME.txt`.
        title: what it is, for people.
        purpose: the option that needs it.
        pythons: versions of Python for which all of its packages have wheels.
        bytes: what its environment takes on a disk, as measured.
        without: systems, as `system.system_name` has them, for which some of its packages have no wheels.
    """

    name: str
    title: str
    purpose: str
    pythons: tuple[tuple[int, int], ...]
    bytes: int
    without: tuple[str, ...] = ()

    @property
    def pins(self) -> str:
        """The list of its packages, `name==version` on each line that is no comment."""
        return Path(__file__).with_name(f"{self.name}.txt").read_text(encoding="utf-8")

    @property
    def packages(self) -> list[str]:
        lines = self.pins.splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    def check_python(self) -> None:
        """Raises UsageError where this Python is none of `pythons`, or this system is one of `without`."""
        if system_name() in self.without:
            there = f"{self.name}: its packages do not exist for this system ({system_name()})"
            raise UsageError(f"{there}; {self.purpose} needs u2zoo on another one")
        if sys.version_info[:2] not in self.pythons:
            allowed = " or ".join(_dotted(python) for python in self.pythons)
            raise UsageError(
                f"{self.name}: its packages exist for Python {allowed}, and this is {_dotted(sys.version_info[:2])};"
                f" {self.purpose} needs u2zoo in one of them"
            )


def _dotted(python: tuple[int, ...]) -> str:
    return ".".join(map(str, python))


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("onnx2tf", "onnx2tf 1.29, from ONNX to TensorFlow", "--via onnx2tf", ((3, 11), (3, 12)), 1_500_000_000),
        Tool(
            "litert-torch", "litert-torch 0.10, from Torch to TFLite", "--via litert-torch",
            ((3, 11), (3, 12), (3, 13)), 1_200_000_000, without=("win32",),
        ),
    )
}  # fmt: skip


def get_tool(name: str) -> Tool:
    """The tool of that name. Raises UnknownNameError."""
    if name not in TOOLS:
        raise UnknownNameError("tool", name, TOOLS)
    return TOOLS[name]
