"""When the command began, next to: what it says of its time includes its imports."""

import time

__all__ = ["STARTED"]

STARTED = time.perf_counter()
