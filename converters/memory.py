"""Memory of this process: how much it took, and given back before the next format begins (with glibc alone)."""

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path
from typing import Any

__all__ = ["peak_memory", "release_memory", "return_large_blocks"]

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE = 4 << 20  # bytes


def return_large_blocks() -> None:
    """From now on blocks of over 4 MiB (kernels, activations) come from the system and go back when they are freed.

    For programs, not for libraries: it holds for the whole process and cannot be taken back. glibc moves its threshold
    by itself until it is set once, and has no call that lets it move again.

    glibc raises its threshold to 32 MiB by itself, and then each exporter leaves a heap full of holes as large as
    kernels: full-size u2net to TFLite takes 3.0 GB where 2.5 GB do, in the same time.
    """
    threshold = _c_function("mallopt")
    if threshold:
        threshold(M_MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Collects what frameworks keep in reference cycles, and hands free heap pages back to the system."""
    gc.collect()
    trim = _c_function("malloc_trim")
    if trim:
        trim(0)


def peak_memory() -> int:
    """Largest resident size of this process in bytes; on Linux without what its parent had when it forked."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _c_function(name: str) -> Any:
    """A function of the C library that this process runs with; None where it has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows has no such handle
        return None
