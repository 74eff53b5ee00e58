"""`u2zoo`: one small module per command, each a thin face of the Python functions.

>>> from u2net_zoo.cli.options import parse_size
>>> parse_size("320x512")
(320, 512)
"""

import time

__all__ = ["STARTED", "main"]

STARTED = time.perf_counter()  # of the command, next to: what a command says of its time includes its imports


def main() -> None:
    """Entry point of `u2zoo`; see `commands.main`.

    Imported when called: worker processes import the console script again, and with it this package.
    """
    from .commands import main as run

    run()
