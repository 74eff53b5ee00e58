"""The memory of a command and all its processes, for benchmarks. Needs psutil."""

import psutil

__all__ = ["megabytes"]


def megabytes(process: psutil.Process) -> float:
    """Resident now, MiB; a process that ends meanwhile counts nothing."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20
