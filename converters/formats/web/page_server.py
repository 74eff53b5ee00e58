"""Serves this folder on this machine alone: python3 serve.py [port].

A browser lets the model use several threads only where the page is isolated from others. These headers say that it is;
a server of your own has to send the same.
"""

import functools
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
        """Nothing: an address is all that people need to see."""


def main() -> None:
    try:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
        handler = functools.partial(Handler, directory=str(Path(__file__).resolve().parent))
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"error: {error}; python3 serve.py PORT takes another port")
    print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
