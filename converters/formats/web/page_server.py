"""Serves this folder on this machine alone: python3 serve.py [port]; 0 is any port that is free.

A browser lets the model use several threads only where the page is isolated from others. These headers say that it is;
a server of your own has to send the same.
"""

import errno
import functools
import os
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Nothing but this folder: what the page sends could go nowhere else. The model's threads are made of blobs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; worker-src blob:;"
    " style-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob:; base-uri 'none'; form-action 'none'",
    "Permissions-Policy": "camera=(self), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Handler(SimpleHTTPRequestHandler):
    # Stated, for Windows asks its registry, which programs change.
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".html": "text/html", ".js": "text/javascript",
                      ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json",
                      ".svg": "image/svg+xml", ".wasm": "application/wasm"}  # fmt: skip

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the URL is all that people need to see."""


class Server(ThreadingHTTPServer):
    allow_reuse_address = os.name != "nt"  # there it lets a second server take the port of the first
    allow_reuse_port = False  # it does so everywhere


def port_of(arguments: list[str]) -> int:
    """Raises ValueError, in one line, for what is no port."""
    if len(arguments) > 1:
        raise ValueError(f"{len(arguments)} arguments; python3 serve.py takes one, a port from 0 to 65535")
    text = arguments[0] if arguments else "8000"
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f"{text[:40]!a} is no port; ports are 0 to 65535, as in: python3 serve.py 8001")
    return int(text)


def opened(port: int) -> Server:
    """A server on the port. Raises ValueError, in one line, where the system does not give it."""
    try:
        return Server(("127.0.0.1", port), functools.partial(Handler, directory=str(Path(__file__).resolve().parent)))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "another program has it" if taken else error.strerror or str(error)
        raise ValueError(
            f"port {port} cannot be had ({reason}); ports are 0 to 65535; python3 serve.py 0 takes one that is free"
        ) from None


def main() -> None:
    try:
        server = opened(port_of(sys.argv[1:]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
