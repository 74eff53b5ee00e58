"""`u2zoo`: one small module per command, each a thin face of the Python functions."""

from .main import main

__all__ = ["main"]
