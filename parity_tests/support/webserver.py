"""A real HTTP server on this machine that behaves badly on request: the first part of the path says how.

`/ok/w.bin` sends the file `w.bin` of the folder; `/truncated/w.bin` half of it, and so on: one method per manner.
Run as a program it serves a folder: `python webserver.py FOLDER`, and prints its address.
"""

import hashlib
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

BODY = np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
PAGE = b"<!DOCTYPE html><html><head><title>Sign in &amp; go on</title></head><body>nothing here</body></html>"
# What Google Drive sends instead of a large file, with its form; the address of the form is this server's.
WARNING = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<div class="uc-main"><p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="search" action="/nowhere"><input type="hidden" name="q" value="wrong"></form>
<form id="download-form" action="{base}/download" method="get">
<input type="submit" id="uc-download-link" class="goog-inline-block jfk-button" value="Download anyway"/>
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1b-2&amp;c"></form>
</div></body></html>
"""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        url = urlsplit(self.path)
        manner, _, name = url.path.strip("/").partition("/")
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        path = self.server.folder / (name or self.query.get("id", "none"))
        self.body = path.read_bytes() if path.is_file() else b""
        try:
            getattr(self, "do_" + manner.replace("-", "_"))()
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self.close_connection = True

    def head(self, length: int | None, kind: str = "application/octet-stream", status: int = 200, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in more.items():
            self.send_header(key, value)
        self.end_headers()

    def send(self, body: bytes, declared: int | None = -1, **more) -> None:
        self.head(len(body) if declared == -1 else declared, **more)
        self.wfile.write(body)

    def half(self) -> None:
        self.head(len(self.body))
        self.wfile.write(self.body[: len(self.body) // 2])
        self.wfile.flush()

    def do_ok(self):
        self.send(self.body)

    def do_unsized(self):
        self.send(self.body, declared=None)

    def do_slow(self):
        self.half()
        time.sleep(0.7)
        self.wfile.write(self.body[len(self.body) // 2 :])

    def do_truncated(self):
        self.half()

    def do_announces_more(self):
        self.send(self.body, declared=len(self.body) + 100)

    def do_announces_less(self):
        self.send(self.body, declared=len(self.body) - 100)

    def do_flipped(self):
        self.send(bytes([self.body[0] ^ 1]) + self.body[1:])

    def do_endless(self):
        self.head(None)
        for _ in range(10_000):
            self.wfile.write(self.body)
            self.server.sent += len(self.body)

    def do_missing(self):
        self.send(b"no", status=404)

    def do_broken(self):
        self.send(b"no", status=500)

    def do_page(self):
        self.send(PAGE, kind="text/html; charset=utf-8")

    def do_index(self):
        self.send(self.body, kind="text/html; charset=utf-8")

    def do_disguised_page(self):
        self.send(PAGE + b" " * (len(self.body) - len(PAGE)))

    def do_stalls(self):
        self.half()
        self.server.stop.wait(20)

    def do_silent(self):
        self.server.stop.wait(20)

    def do_trickles(self):
        self.head(len(self.body))
        for n in range(len(self.body)):
            self.wfile.write(self.body[n : n + 1])
            if self.server.stop.wait(0.05):
                return

    def do_moved(self):
        self.send(b"", status=302, Location=self.path.replace("/moved/", "/ok/"))

    def do_circle(self):
        self.send(b"", status=302, Location=self.path)

    def do_uc(self):
        page = WARNING.format(base=self.server.base, id=self.query["id"])
        self.send(page.encode(), kind="text/html; charset=utf-8")

    def do_download(self):
        if self.query.get("id") == "again":
            return self.do_uc()
        good = self.query.get("confirm") == "t" and self.query.get("uuid") == "1b-2&c" and "q" not in self.query
        return self.send(self.body) if good else self.do_page()

    def do_quota(self):
        self.send(b"<html><head><title>Google Drive - Quota exceeded</title></head></html>", kind="text/html")

    def log_message(self, *args) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Serves `folder`; keeps the paths that were asked for, and how many bytes `endless` could send."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.base = folder, f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[str] = []
        self.sent = 0
        self.stop = threading.Event()

    def start(self) -> "Server":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def close(self) -> None:
        self.stop.set()
        self.shutdown()
        self.server_close()


if __name__ == "__main__":
    server = Server(Path(sys.argv[1]))
    print(server.base, flush=True)
    server.serve_forever()
