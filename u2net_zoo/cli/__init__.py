"""`u2zoo`: one small module per command, each a thin face of the Python functions.

>>> from u2net_zoo.cli.options import parse_size
>>> parse_size("320x512")
(320, 512)
"""

import gc

from . import clock  # noqa: F401 - it starts here

__all__ = ["main"]


def main() -> None:
    """Entry point of `u2zoo`; see `commands.main`. Ends the process.

    Imported when called: worker processes import the console script again, and with it this package.
    """
    gc.disable()  # until a command begins: imports leave nothing to collect, and looking takes a tenth of the start

    from .commands import main as run
    from .leaving import leave

    try:
        run()
    except SystemExit as end:
        leave(end.code)
        raise
