"""What one operating system has and another has not: the rest of the house asks here, and names no system itself.

what                           Linux                   macOS               Windows
processors of this process     those it may use        all                 all
limits of a reader's process   memory and CPU time     CPU time            none; a wall clock ends it everywhere
freed memory                   goes back (glibc)       the system's way    the system's way
talk with an isolated process  inherited socket        inherited socket    loopback, with a key
an orderly end besides Ctrl-C  SIGTERM, SIGHUP         SIGTERM, SIGHUP     Ctrl-Break, a closed window
`A.png` and `a.png`            two files               one file            one file
worker processes               any number              any number          up to 60
… are made from                one that has loaded     one that has loaded nothing
"""

import contextlib
import ctypes
import errno
import gc
import importlib
import multiprocessing
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

__all__ = [
    "c_function",
    "core_ai",
    "ending",
    "ending_signals",
    "features",
    "has_core_ml",
    "inherits_descriptors",
    "limit_process",
    "path_key",
    "peak_memory",
    "peak_of_children",
    "processor_name",
    "processors",
    "python_in",
    "replace",
    "same_file",
    "scratch_folder",
    "slashed",
    "system_name",
    "take_address",
    "worker_limit",
    "workers_context",
]

ENDINGS = ("SIGTERM", "SIGHUP", "SIGBREAK")
ONE_CASE = sys.platform in ("win32", "darwin")  # where file systems usually take `A` and `a` for one name
MOST_HANDLES = 60  # that Windows waits for at once are 63; three are the pool's own
PATIENCE = 2.0  # seconds for which a file that is to be replaced may be held by a virus scanner or an open mapping
# How Windows ends a process that went wrong: ntstatus.h.
STATUS = {
    0xC0000005: "access violation",
    0xC0000017: "no memory",
    0xC000001D: "illegal instruction",
    0xC00000FD: "stack overflow",
    0xC0000135: "a library is missing",
    0xC000013A: "interrupted",
    0xC0000374: "heap corruption",
    0xC0000409: "aborted",
}


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_context(modules: Sequence[str]) -> "SpawnContext | ForkServerContext":
    """For worker processes that need `modules`: forked from one process that has loaded them, where the system can.

    That one is started afresh, without threads, so forking it is safe. Three workers then cost 0.3 s of processor time
    to start where each of them took as much (2026-11-26).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


def worker_limit() -> int:
    """How many worker processes one process can wait for."""
    return sys.maxsize if hasattr(os, "fork") else MOST_HANDLES


def system_name() -> str:
    """`linux`, `darwin` or `win32`, as wheels and markers know systems."""
    return sys.platform


def processor_name() -> str:
    """`AMD EPYC 9654 96-Core Processor`, or what the system says instead."""
    with contextlib.suppress(OSError, StopIteration):
        return next(line for line in _cpuinfo() if line.startswith("model name")).split(":", 1)[1].strip()
    with contextlib.suppress(ImportError, OSError):
        winreg: Any = importlib.import_module("winreg")
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return _brand() or platform.processor() or platform.machine()


def features() -> set[str]:
    """The processor's instruction sets as Linux names them, `avx512f`; empty where the system keeps no list."""
    with contextlib.suppress(OSError, StopIteration):
        return set(next(line for line in _cpuinfo() if line.startswith(("flags", "Features"))).split())
    return set()


def peak_memory() -> int:
    """Largest resident size of this process in bytes; on Linux without what its parent had when it forked.

    0 where the system does not tell.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return _peak_usage("RUSAGE_SELF") or _peak_working_set()


def peak_of_children() -> int:
    """Bytes, the largest resident size of one of its processes that have ended; 0 where the system does not tell."""
    return _peak_usage("RUSAGE_CHILDREN")


def limit_process(cpu_seconds: int, memory: int) -> None:
    """From now on this process gets so much processor time and address space, where the system can limit them.

    A limit that is in force already is lowered, never raised.
    """
    with contextlib.suppress(ImportError):
        import resource

        for kind, most in ((resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_AS, memory)):
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            with contextlib.suppress(ValueError, OSError):  # macOS knows RLIMIT_AS and takes none
                resource.setrlimit(kind, (most, most))


def c_function(name: str) -> Any:
    """A function of the C library that this process runs with; None where it has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows has no such handle
        return None


def has_core_ml() -> bool:
    """Whether Core ML itself is here, and not only coremltools."""
    return sys.platform == "darwin"


def core_ai() -> str:
    """`runs`: from macOS 27 on; `written`: where its tools have wheels; empty elsewhere."""
    runs = sys.platform == "darwin" and int(platform.mac_ver()[0].partition(".")[0]) >= 27
    return "runs" if runs else "written" if (sys.platform, platform.machine()) == ("linux", "x86_64") else ""


def inherits_descriptors() -> bool:
    """Whether a child can be handed open descriptors by their numbers, as `pass_fds` of subprocess does."""
    return hasattr(os, "fork")


def ending(code: int) -> str:
    """How a process ended that ended with `code`: `SIGKILL`, `access violation`, `exit code 3`."""
    if code in STATUS:
        return STATUS[code]
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def ending_signals() -> list[int]:
    """Signals that ask a program to end, those that this system has."""
    return [int(getattr(signal, name)) for name in ENDINGS if hasattr(signal, name)]


def path_key(path: str) -> str:
    """Equal for two paths that may name one file by their spelling; where case counts, the path itself."""
    return os.path.normcase(path).casefold() if ONE_CASE else path


def replace(source: Path, target: Path) -> None:
    """`os.replace`, which Windows refuses as long as anyone has one of both open: tried again until `PATIENCE` is over.

    Raises:
        OSError: it cannot be done.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            held = error.errno == errno.EACCES and os.access(target.parent, os.W_OK)
            if not held or time.monotonic() > end:
                raise
            gc.collect()  # a runtime that nobody uses any more may be the one that holds it
            time.sleep(0.05)


def same_file(one: Path, other: Path) -> bool:
    """Whether both name one file, which need not exist, by whatever links and spelling."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def scratch_folder() -> TemporaryDirectory[str]:
    """A temporary folder. A file that a runtime still holds open stays behind where it cannot be removed."""
    return TemporaryDirectory(prefix="u2zoo-", ignore_cleanup_errors=True)


def python_in(folder: Path) -> Path:
    """The interpreter of the virtual environment `folder`."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def slashed(path: str) -> str:
    """The relative `path` as files for other programs name it: `holiday/cat.png`."""
    return PurePath(path).as_posix()


def take_address(listening: socket.socket) -> None:
    """Its address may be one that a server has just left, and is taken from no other that runs.

    Windows lets a second server have a port that is in use when it asks as others ask for one that is left.
    """
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()


def _brand() -> str:
    """The processor's name as macOS keeps it; empty elsewhere."""
    ask = c_function("sysctlbyname")
    if not ask:
        return ""
    answer, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    done = ask(b"machdep.cpu.brand_string", answer, ctypes.byref(size), None, ctypes.c_size_t(0))
    return answer.value.decode("utf-8", "replace") if done == 0 else ""


def _peak_usage(who: str) -> int:
    """Bytes, as getrusage counts them: macOS in bytes, others in kB; 0 where there is none."""
    with contextlib.suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(getattr(resource, who)).ru_maxrss
    return 0


class _MemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of psapi.h."""

    _fields_ = [
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        ("PeakWorkingSetSize", ctypes.c_size_t),
        ("WorkingSetSize", ctypes.c_size_t),
        ("QuotaPeakPagedPoolUsage", ctypes.c_size_t),
        ("QuotaPagedPoolUsage", ctypes.c_size_t),
        ("QuotaPeakNonPagedPoolUsage", ctypes.c_size_t),
        ("QuotaNonPagedPoolUsage", ctypes.c_size_t),
        ("PagefileUsage", ctypes.c_size_t),
        ("PeakPagefileUsage", ctypes.c_size_t),
    ]


def _peak_working_set() -> int:
    """Bytes, as Windows counts them; 0 elsewhere."""
    library: Any = getattr(ctypes, "WinDLL", None)
    if library is None:
        return 0
    kernel, counters = library("kernel32"), _MemoryCounters()
    counters.cb = ctypes.sizeof(counters)
    kernel.GetCurrentProcess.restype = ctypes.c_void_p  # a handle: an int would be cut
    ask = kernel.K32GetProcessMemoryInfo
    ask.argtypes = (ctypes.c_void_p, ctypes.POINTER(_MemoryCounters), ctypes.c_uint32)
    return int(counters.PeakWorkingSetSize) if ask(kernel.GetCurrentProcess(), counters, counters.cb) else 0
