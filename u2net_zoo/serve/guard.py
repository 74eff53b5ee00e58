"""What stands before every request: who may ask, and what browsers are told; and how long a client may take."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits

__all__ = ["Guard", "patient"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: closing waits for nothing
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """Refuses requests that another site's page makes a browser send, and puts the security headers on every answer.

    Args:
        app: what is guarded.
        names: host names that the server is asked by; None: any. On this machine alone it is loopback's: a page whose
            name was rebound to 127.0.0.1 still sends its own.
    """

    def __init__(self, app: Asgi, names: frozenset[str] | None):
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        if reason := self._objection(dict(scope["headers"])):
            await _refuse(403, reason, with_headers)
        else:
            await self.app(scope, receive, with_headers)

    def _objection(self, headers: dict[bytes, bytes]) -> str | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self.names is not None and _name(f"//{host}") not in self.names:
            return "this server does not answer to that host name; allowed: " + ", ".join(sorted(self.names))
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.lower().partition("://")[2] != host.lower():
            return "the request comes from a page of another site; open the page of this server"
        return None


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


async def _refuse(status: int, text: str, send: Send) -> None:
    import json

    body = json.dumps({"error": text}).encode()
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def patient(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1, which gives up clients that are too slow.

    A request's head has `limits.patience` seconds to arrive; an answer has `limits.timeout` seconds to be taken. Until
    it is, it lies in memory here, also after its request is done and its connection is to be closed.
    """

    class Patient(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.head = _Clock(limits.patience, self.loop, transport)
            self.taking = _Clock(limits.timeout, self.loop, transport)
            transport.set_write_buffer_limits(0)  # `pause_writing` is when anything waits to be taken
            self._time()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._time()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.taking.start()

        def resume_writing(self) -> None:
            self.taking.stop()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self.head.stop()
            self.taking.stop()
            super().connection_lost(exc)

        def _time(self) -> None:
            """The clock runs while no request is being worked on; bytes of a head do not set it back."""
            if self.cycle is not None and not self.cycle.response_complete:
                self.head.stop()
            else:
                self.head.start()

    return Patient


class _Clock:
    """Ends a connection, and drops what waits to be sent there, unless it is stopped within `seconds`."""

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport):
        self.seconds, self.loop, self.transport = seconds, loop, transport
        self.timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Does nothing while it runs."""
        if self.timer is None:
            self.timer = self.loop.call_later(self.seconds, self._end)

    def _end(self) -> None:
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # the system's buffers are dropped as well
        self.transport.abort()

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
