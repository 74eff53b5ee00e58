"""Runs a module as `python -m` does, and ends when whoever started it has ended: a program, run as a file.

    python -I guarded.py MODULE ARGUMENTS…

Standard input is a pipe that its starter never writes to: it closes when the starter ends, even by `kill -9`. Nothing
goes on writing then into what the next process takes for left behind. It imports nothing of this package.
"""

import os
import runpy
import sys
import threading


def main() -> None:
    threading.Thread(target=_end_with_starter, daemon=True).start()
    module = sys.argv[1]
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_starter() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
