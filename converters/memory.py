"""Memory of this process: kept while the reference is computed, given back before the next format begins.

With glibc alone; elsewhere the system does as it does.
"""

import contextlib
import gc
from collections.abc import Iterator

from u2net_zoo.system import c_function

__all__ = ["keep_freed_blocks", "release_memory", "return_large_blocks", "trim_memory"]

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
LARGE = 4 << 20  # bytes
USUAL = {M_ARENA_MAX: 0, M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 << 10}  # what glibc begins with


@contextlib.contextmanager
def keep_freed_blocks() -> Iterator[None]:
    """Until `return_large_blocks`, in the block or at its end: what is freed stays with this process and is used again.

    For programs, not for libraries: it holds for the whole process. Maps of a network are tens of megabytes that
    follow each other; each new one would be thousands of pages for the system to clear. Torch's float32 answers of
    u2netp in two layouts take 0.7 s instead of 1.4 s (two processors, 2026-11-26).
    """
    _set({M_ARENA_MAX: 1, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 1 << 30})
    try:
        yield
    finally:
        return_large_blocks()


def return_large_blocks() -> None:
    """From now on blocks of over 4 MiB (kernels, activations) come from the system and go back when they are freed.

    For programs, not for libraries: it holds for the whole process and cannot be taken back. glibc moves its threshold
    by itself until it is set once, and has no call that lets it move again.

    glibc raises its threshold to 32 MiB by itself, and then each exporter leaves a heap full of holes as large as
    kernels: full-size u2net to TFLite takes 3.0 GB where 2.5 GB do, in the same time.
    """
    _set(USUAL | {M_MMAP_THRESHOLD: LARGE})
    trim_memory()


def release_memory() -> None:
    """Collects what frameworks keep in reference cycles, and hands free heap pages back to the system."""
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Hands free heap pages back to the system."""
    trim = c_function("malloc_trim")
    if trim:
        trim(0)


def _set(values: dict[int, int]) -> None:
    option = c_function("mallopt")
    for name, value in values.items() if option else ():
        option(name, value)
