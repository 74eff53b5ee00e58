"""How an isolated process is started, and how the two processes find each other.

Where a child inherits open descriptors it is given one end of a pair of sockets. Elsewhere it is told a port of this
machine and a key on its standard input, calls there, and is known by the key.
"""

import contextlib
import hmac
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import IO, Any

from u2net_zoo.system import ending, inherits_descriptors

__all__ = ["connect", "last_words", "start"]

LOOPBACK = "127.0.0.1"
KEY = 32  # bytes
PATIENCE = 5.0  # seconds for the key of one who calls
GLANCE = 0.1  # seconds between two looks at whether the child still lives


def start(
    command: Sequence[str], log: IO[bytes], environment: Mapping[str, str], limit: float
) -> tuple[subprocess.Popen, Connection]:
    """The worker's process, started by `command`, and the connection to it; `log` takes what it prints.

    Raises:
        EOFError: it ended before it was connected; the message says how. TimeoutError: not within `limit` seconds.
    """
    options: dict[str, Any] = {"stdout": log, "stderr": log, "env": dict(environment)}
    return (_inherited if inherits_descriptors() else _called)(list(command), options, log, limit)


def connect(arguments: Sequence[str]) -> Connection:
    """The worker's end: of the descriptor that it was given, or else by a call to the port that it reads."""
    if arguments:
        return Connection(int(arguments[0]))
    port, key = sys.stdin.readline().split()
    caller = socket.create_connection((LOOPBACK, int(port)))
    caller.sendall(bytes.fromhex(key))
    return _connection(caller)


def last_words(process: subprocess.Popen, log: IO[bytes]) -> str:
    """How the process ended, and the last line that it wrote."""
    how = ending(process.wait())
    log.seek(0)
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f"{how}; {lines[-1][:200]}" if lines else how


def _inherited(
    command: list[str], options: dict[str, Any], log: IO[bytes], limit: float
) -> tuple[subprocess.Popen, Connection]:
    here, there = socket.socketpair()
    with there:
        number = there.fileno()
        try:
            process = subprocess.Popen([*command, str(number)], pass_fds=[number], stdin=subprocess.DEVNULL, **options)
        except BaseException:
            here.close()
            raise
    return process, Connection(here.detach())


def _called(
    command: list[str], options: dict[str, Any], log: IO[bytes], limit: float
) -> tuple[subprocess.Popen, Connection]:
    key = secrets.token_bytes(KEY)
    with socket.create_server((LOOPBACK, 0)) as door:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, **options)
        try:
            _tell(process, f"{door.getsockname()[1]} {key.hex()}\n")
            return process, _accept(door, key, process, log, time.monotonic() + limit)
        except BaseException:
            process.kill()
            process.wait()
            raise


def _tell(process: subprocess.Popen, line: str) -> None:
    """A line on the standard input, which ends then; a process that is gone is found by `_accept`."""
    with contextlib.suppress(OSError), process.stdin or contextlib.nullcontext() as stream:
        if stream:
            stream.write(line.encode())


def _accept(door: socket.socket, key: bytes, process: subprocess.Popen, log: IO[bytes], end: float) -> Connection:
    """The first call that has the key."""
    door.settimeout(GLANCE)
    while time.monotonic() < end:
        if process.poll() is not None:
            raise EOFError(last_words(process, log))
        try:
            caller = door.accept()[0]
        except TimeoutError:
            continue
        if _has(caller, key, end):
            return _connection(caller)
        caller.close()
    raise TimeoutError


def _has(caller: socket.socket, key: bytes, end: float) -> bool:
    """Whether the first that comes from there is the key."""
    end, received = min(end, time.monotonic() + PATIENCE), b""
    with contextlib.suppress(OSError):
        while len(received) < KEY and (left := end - time.monotonic()) > 0:
            caller.settimeout(left)
            part = caller.recv(KEY - len(received))
            if not part:
                break
            received += part
    return hmac.compare_digest(received, key)


def _connection(caller: socket.socket) -> Connection:
    caller.settimeout(None)
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a request is a small header before its arrays
    return Connection(caller.detach())
