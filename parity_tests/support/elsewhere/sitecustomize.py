"""Python starts here when this folder is on PYTHONPATH: the house sees a system that is like Windows in what it lacks.

Children inherit it with PYTHONPATH. Other packages see the system as it is, for they go by its name, except in this:
nobody is handed descriptors, `/proc` is empty, processes are spawned, and what somebody has open is neither renamed nor
removed.
"""

import builtins
import ctypes
import io
import os
import shutil
import subprocess
import sys
import types

HOUSE = ("u2net_zoo", "converters", "scripts")
MODULES = {
    "resource",
    "fcntl",
    "pwd",
    "grp",
    "termios",
    "tty",
    "pty",
    "syslog",
    "posix",
    "_posixsubprocess",
    "readline",
}
LACKING = {
    "os": {
        "fork", "forkpty", "killpg", "getpgid", "getpgrp", "setpgid", "setsid", "getuid", "geteuid", "getgid",
        "getegid", "fchmod", "fchown", "chown", "lchown", "sched_getaffinity", "sysconf", "getloadavg", "uname",
        "mkfifo", "mknod", "nice", "wait", "wait3", "wait4", "WNOHANG", "statvfs", "pread", "O_NOFOLLOW", "O_CLOEXEC",
        "openpty", "O_DIRECTORY", "register_at_fork", "posix_spawn", "sendfile", "set_blocking", "ttyname", "pipe2",
    },
    "signal": {
        "SIGKILL", "SIGHUP", "SIGSTOP", "SIGCONT", "SIGCHLD", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGQUIT",
        "alarm", "pause", "setitimer", "pthread_kill", "pthread_sigmask", "sigwait",
    },
    "socket": {"AF_UNIX", "SO_REUSEPORT", "send_fds", "recv_fds"},
}  # fmt: skip
PASSED = ("pass_fds", "preexec_fn", "start_new_session", "process_group", "umask", "user", "group")
BETWEEN = ("pathlib.py", "contextlib.py", "tempfile.py", "subprocess.py", "sitecustomize.py")
WORKING_SET = 123_456_789  # bytes: what the system says of every process

ask, load, popen, listing, readable = builtins.__import__, io.open, subprocess.Popen.__init__, os.listdir, os.readlink


class Lacking(types.ModuleType):
    """A module without some of its names."""

    def __init__(self, module: types.ModuleType):
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _hidden=LACKING[module.__name__])

    def __getattr__(self, name: str):
        if name in self._hidden:
            raise AttributeError(f"this system has no {self._module.__name__}.{name}")
        return getattr(self._module, name)


def of_the_house(file: str) -> bool:
    return any(f"/{name}/" in file for name in HOUSE) and "/site-packages/" not in file


def asked_by_the_house() -> bool:
    """Whether the nearest caller outside of the standard library's own files is the house."""
    frame = sys._getframe(1)
    while frame and frame.f_code.co_filename.endswith(BETWEEN):
        frame = frame.f_back
    return frame is not None and of_the_house(frame.f_code.co_filename)


def imported(name, globals=None, locals=None, fromlist=(), level=0):
    if level or not of_the_house((globals or {}).get("__file__") or ""):
        return ask(name, globals, locals, fromlist, level)
    if name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    found = ask(name, globals, locals, fromlist, level)
    return Lacking(found) if name in LACKING else found


def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *rest, **more):
    if isinstance(file, str | bytes | os.PathLike) and os.fspath(file)[:6] in ("/proc/", b"/proc/"):
        raise FileNotFoundError(2, "this system has no /proc", os.fspath(file))
    if "b" not in mode and asked_by_the_house():
        if encoding in (None, "locale"):
            raise AssertionError(f"{file}: opened as text without an encoding")
        newline = "\r\n" if newline is None and mode != "r" else newline
    return load(file, mode, buffering, encoding, errors, newline, *rest, **more)


def started(self, *arguments, **options):
    refused = [name for name in PASSED if options.get(name) not in (None, (), [], False, -1)]
    if refused:
        raise AssertionError(f"{refused[0]} not supported on this system")
    text = options.get("text") or options.get("universal_newlines")
    if text and not options.get("encoding") and asked_by_the_house():
        raise AssertionError("a process is read as text without an encoding")
    popen(self, *arguments, **options)


def held(path) -> bool:
    """Whether this process has the file open or mapped, or one in the folder."""
    wanted = os.path.abspath(os.fspath(path))
    found = set()
    for number in listing("/proc/self/fd"):
        try:
            found.add(readable(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    with load("/proc/self/maps", errors="surrogateescape") as maps:
        found |= {line.split(maxsplit=5)[-1].rstrip("\n") for line in maps}
    return any(file == wanted or file.startswith(f"{wanted}/") for file in found)


def unless_held(call):
    def checked(*paths, **options):
        for path in paths:
            if isinstance(path, str | os.PathLike) and not options.get("dir_fd") and held(path):
                raise PermissionError(13, "in use by this process", os.fspath(path))
        return call(*paths, **options)

    return checked


class Kernel:
    """kernel32.dll, as far as it is asked."""

    def __init__(self, name: str):
        self.GetCurrentProcess = lambda: -1
        self.K32GetProcessMemoryInfo = self.tell

    @staticmethod
    def tell(process: int, counters, size: int) -> int:
        counters.PeakWorkingSetSize = WORKING_SET
        return 1


def install() -> None:
    import multiprocessing

    builtins.__import__ = imported
    builtins.open = io.open = opened
    subprocess.Popen.__init__ = started
    ctypes.WinDLL = Kernel
    shutil._use_fd_functions = False
    for name in ("replace", "rename", "unlink", "remove", "rmdir"):
        setattr(os, name, unless_held(getattr(os, name)))
    multiprocessing.set_start_method("spawn")


if __name__ == "sitecustomize":  # tests import it under another name, for its tables
    install()
