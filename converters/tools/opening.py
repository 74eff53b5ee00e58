"""A tool's process: its own Python and packages, and of what is installed here nothing but these two packages."""

from ..isolated.client import BOOTSTRAP, WORKER, IsolatedProcess
from .environments import Environment
from .registry import get_tool

__all__ = ["open_tool"]

LIMIT = 7200.0  # seconds for one answer: a conversion of a full-size network at a large size


def open_tool(name: str) -> IsolatedProcess:
    """The tool of that name, ready to be called; its environment is made on first use.

    Raises:
        UnknownNameError: there is none. Otherwise as `Environment.make`.
    """
    tool = get_tool(name)
    python = Environment(tool).make()
    # Without PYTHONPATH, which would lead the programs that it starts to the packages here.
    return IsolatedProcess(name, [str(python), "-I", str(BOOTSTRAP), WORKER], {"PYTHONPATH": ""}, LIMIT)
