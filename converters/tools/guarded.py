"""Runs a module as `python -m` does, and ends when whoever started it has ended: a program, run as a file.

    python -I guarded.py MODULE ARGUMENTS…

Standard input is a pipe that its starter never writes to. When it closes, even by the starter's `kill -9`, this process
ends and so does what it started (not on Windows, which has no groups of processes to be ended as one): nothing goes on
writing into what is removed then. It imports nothing of this package.
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, to be ended as one; Windows has none
    lifeline = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # what it starts does not wait for that pipe
    threading.Thread(target=_end_with_starter, args=(lifeline,), daemon=True).start()
    module = sys.argv[1]
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_starter(lifeline: int) -> None:
    os.read(lifeline, 1)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
