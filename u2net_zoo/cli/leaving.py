"""The end of the process."""

import atexit
import os
import sys
import threading
from typing import Any

__all__ = ["leave"]


def leave(code: Any) -> None:
    """Ends the process with `code`, without freeing what the system frees anyway: a runtime takes 50 ms for that.

    Exit functions run, and what was printed is out. Returns where only the interpreter itself can end well: a thread
    has something left to do, somebody watches (a profiler, a debugger), or what was printed cannot be written.
    """
    working = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    watched = sys.getprofile() or sys.gettrace() or sys.flags.inspect
    if working or watched or not (code is None or isinstance(code, int)):
        return
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code or 0)
