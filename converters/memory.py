"""Memory of this process, given back before the next format begins (with glibc alone)."""

import gc

from u2net_zoo.system import c_function

__all__ = ["release_memory", "return_large_blocks"]

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE = 4 << 20  # bytes


def return_large_blocks() -> None:
    """From now on blocks of over 4 MiB (kernels, activations) come from the system and go back when they are freed.

    For programs, not for libraries: it holds for the whole process and cannot be taken back. glibc moves its threshold
    by itself until it is set once, and has no call that lets it move again.

    glibc raises its threshold to 32 MiB by itself, and then each exporter leaves a heap full of holes as large as
    kernels: full-size u2net to TFLite takes 3.0 GB where 2.5 GB do, in the same time.
    """
    threshold = c_function("mallopt")
    if threshold:
        threshold(M_MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Collects what frameworks keep in reference cycles, and hands free heap pages back to the system."""
    gc.collect()
    trim = c_function("malloc_trim")
    if trim:
        trim(0)
