"""Tools of others whose pins fit no environment but their own: each has one in the cache, and answers from there.

    >>> from converters.tools import TOOLS, open_tool
    >>> TOOLS["onnx2tf"].purpose
    '--via onnx2tf'

`with open_tool("onnx2tf") as tool: tool.call("converters.formats.onnx2tf_worker:convert", {…})` makes the environment
on first use, starts its Python and calls a function of this package in there.
"""

from .environments import Environment
from .opening import open_tool
from .registry import TOOLS, Tool, get_tool

__all__ = ["TOOLS", "Environment", "Tool", "get_tool", "open_tool"]
