"""What C libraries print into this program's own streams, and where it goes."""

import contextlib
import os
from collections.abc import Iterator

from .system import c_function

__all__ = ["flush_c_streams", "silent_output"]


def flush_c_streams() -> bool:
    """Writes out what C libraries have printed or stored and still hold. False: nothing here can ask them to.

    What they print would otherwise go to where the stream leads later.
    """
    flush = c_function("fflush")
    return flush is not None and flush(None) == 0


@contextlib.contextmanager
def silent_output(stream: int = 1) -> Iterator[None]:
    """Within the block nothing reaches standard output, whoever prints: for libraries that greet when they load.

    Args:
        stream: 2: standard error.
    """
    try:
        saved = os.dup(stream)
    except OSError:  # a program without a console
        yield
        return
    flush_c_streams()
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), stream)
    try:
        yield
    finally:
        flush_c_streams()
        os.dup2(saved, stream)
        os.close(saved)
