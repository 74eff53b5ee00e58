"""The end of the process."""

import atexit
import os
import sys
import threading
from typing import Any

from ..streams import flush_c_streams

__all__ = ["leave"]


def leave(code: Any) -> None:
    """Ends the process with `code`, without freeing what the system frees anyway: a runtime takes 50 ms for that.

    Exit functions run, and what was printed or written is out, also by C libraries. No object is destroyed: whatever
    has to be closed is closed before. Returns where only the interpreter itself can end well: a thread has something
    left to do, somebody watches, or what was printed cannot be written.
    """
    main = threading.main_thread()
    working = [each for each in threading.enumerate() if each is not main and not each.daemon]
    if threading.current_thread() is not main or working or _is_watched() or not (code is None or code in range(256)):
        return
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    if flush_c_streams():
        os._exit(code or 0)


def _is_watched() -> bool:
    """Whether a profiler, a debugger or a measure of coverage is at work, or somebody wants to look at what is left."""
    monitoring = getattr(sys, "monitoring", None)  # of Python 3.12
    tools = [monitoring.get_tool(number) for number in range(6)] if monitoring else []
    return bool(sys.getprofile() or sys.gettrace() or any(tools) or sys.flags.inspect)
