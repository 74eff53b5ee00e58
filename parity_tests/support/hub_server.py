"""A hub on this machine: the endpoints of the Hugging Face Hub that its library asks, over HTTP, with two addresses.

The second one is where large files are: a redirect leads there, and no token may. `Hub.fault` makes it misbehave.
"""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from support.hub_writing import LARGE, TOKEN, Repository, Writing

__all__ = ["TOKEN", "Hub", "Repository"]

API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>[a-z]+)/(?P<revision>[^/]+))?")
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")


class Hub:
    """The servers. `repositories` is what they hold, `requests` what they were asked: (method, path, token or None).

    Attributes:
        fault: `(place, manner)`: at `info`, `resolve`, `file`, `whoami`, `create`, `preupload`, `batch`, `put` or
            `commit` it answers with a status (an int) or misbehaves as the method `_NAME` of `_Handler` does.
        role: of the token: `write` or `read`.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.uploads: dict[str, bytes] = {}
        self.fault: tuple[str, object] = ("", None)
        self.headers: dict[str, str] = {}  # of answers that are errors
        self.role = "write"
        self.small: str | None = None  # "flipped": so are files that are not large
        self.stop = threading.Event()
        self.servers = [_Server(self, name) for name in ("hub", "storage")]
        self.address, self.storage = (server.base for server in self.servers)

    def start(self) -> "Hub":
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def close(self) -> None:
        self.stop.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, repo: str, files: dict[str, bytes], **fields) -> Repository:
        self.repositories[repo] = Repository(**fields)
        self.repositories[repo].commit(files)
        return self.repositories[repo]

    def asked(self) -> list[str]:
        """Paths of the requests, without what is asked for in the query."""
        return [path.partition("?")[0] for _, path, _ in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub, name: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.name, self.base = hub, name, f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(Writing, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - names of the base class

    def _answer(self) -> None:
        self.hub: Hub = self.server.hub
        self.hub.requests.append((self.command, self.path, self.headers.get("Authorization")))
        length = self.headers.get("Content-Length")
        self.body = self.rfile.read(int(length)) if length else b""
        url = urlsplit(self.path)
        path, self.query = url.path, parse_qs(url.query)
        if self.server.name == "storage":
            return self._put(path) if self.command == "PUT" else self._stored(path)
        for pattern, method in (
            (r"/api/whoami-v2", self._whoami), (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate), (BATCH, self._batch), (API, self._api), (RESOLVE, self._resolve),
        ):  # fmt: skip
            if found := re.fullmatch(pattern, path):
                return method(**{key: value and unquote(value) for key, value in found.groupdict().items()})
        return self._error(404, "EntryNotFound")

    # --- answers

    def _send(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, document: object, status: int = 200) -> None:
        self._send(status, json.dumps(document).encode())

    def _error(self, status: int, code: str = "", message: str = "") -> None:
        said = {"X-Error-Code": code, "X-Error-Message": message, **self.hub.headers}
        body = json.dumps({"error": f"{message} for {self.headers.get('Authorization')}"}).encode()
        self._send(status, body, **{key: value for key, value in said.items() if value})

    def _fault(self, place: str) -> bool:
        """Whether the request was answered badly, as the test wants."""
        where, manner = self.hub.fault
        if where != place:
            return False
        if isinstance(manner, int):
            self._error(manner, message=f"refused, you sent {self.headers.get('Authorization')}")
            return True
        return bool(getattr(self, f"_{manner}")())

    def _silent(self) -> bool:
        self.hub.stop.wait(20)
        self.close_connection = True
        return True

    def _nonsense(self) -> bool:
        self._send(200, f"<html>{self.headers.get('Authorization')}</html>".encode(), kind="text/html")
        return True

    def _reason(self) -> bool:
        self.send_response(403, self.headers.get("Authorization"))
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def _title(self) -> bool:
        page = f"<html><title>{'x' * 60} {self.headers.get('Authorization')}</title></html>"
        self._send(200, page.encode(), kind="text/html")
        return True

    def _ftp(self) -> bool:
        self._send(302, Location="ftp://x/y?X-Amz-Signature=secretkeyofthefile")
        return True

    # --- reading

    def _repository(self, repo: str, revision: str | None) -> Repository | None:
        held = self.hub.repositories.get(repo)
        if held is None or (held.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self._error(401, "RepoNotFound", "Repository not found")
            return None
        if revision and revision not in held.refs and revision not in held.commits:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return held

    def _api(self, repo: str, what: str | None, revision: str | None) -> None:
        if what in ("preupload", "commit", "branch"):
            return getattr(self, f"_{what}")(repo, revision)
        held = None if self._fault("info") else self._repository(repo, revision)
        if held is None:
            return None
        commit = held.refs.get(revision or "main", revision)
        siblings = [_sibling(name, content) for name, content in held.commits[commit].items()]
        named = {"id": repo, "sha": commit, "private": held.private, "gated": "manual" if held.gated else False}
        card = held.card or _metadata(held.commits[commit].get("README.md", b""))
        return self._json({**named, "siblings": siblings, "cardData": card, "tags": []})

    def _resolve(self, repo: str, revision: str, file: str) -> None:
        held = None if self._fault("resolve") else self._repository(repo, revision)
        if held is None:
            return
        if held.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(403, "GatedRepo", "Access to model is restricted")
            return
        commit = held.refs.get(revision, revision)
        content = held.commits[commit].get(file)
        if content is None:
            self._error(404, "EntryNotFound")
        elif len(content) < LARGE:
            flipped = bytes([content[0] ^ 1]) + content[1:] if self.hub.small == "flipped" else content
            self._body(flipped, X_Repo_Commit=commit, ETag=f'"{_git(content)}"')
        else:
            digest = hashlib.sha256(content).hexdigest()
            address = f"{self.hub.storage}/{digest}?Signature=secretkeyofthefile"
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            self._send(302, X_Repo_Commit=commit, Location=address, **linked)

    def _stored(self, path: str) -> None:
        digest = path.strip("/")
        contents = [c for r in self.hub.repositories.values() for files in r.commits.values() for c in files.values()]
        self._body(next(c for c in contents if hashlib.sha256(c).hexdigest() == digest))

    def _body(self, content: bytes, **headers: str) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.content = content
        if wanted is None:
            if not self._fault("file"):
                self._send(200, content, kind="application/octet-stream", **headers)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        part = content[start : end + 1]
        self._send(206, part, "application/octet-stream", Content_Range=f"bytes {start}-{end}/{len(content)}")

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _cut(self) -> bool:
        self._head(len(self.content))
        self.wfile.write(self.content[: len(self.content) // 2])
        self.close_connection = True
        return True

    def _flipped(self) -> bool:
        self._send(200, bytes([self.content[0] ^ 1]) + self.content[1:])
        return True

    def _larger(self) -> bool:
        self._send(200, self.content + bytes(100))
        return True

    def _endless(self) -> bool:
        self.send_response(200)
        self.end_headers()
        for _ in range(10_000):
            self.wfile.write(self.content)
        self.close_connection = True
        return True

    def _slow(self) -> bool:
        self._head(len(self.content))
        for n in range(len(self.content)):
            self.wfile.write(self.content[n : n + 1])
            if self.hub.stop.wait(0.05):
                break
        self.close_connection = True
        return True

    def log_message(self, *args) -> None:
        pass


def _metadata(readme: bytes) -> dict:
    """What the card says between its two first lines of dashes."""
    parts = readme.decode().split("---\n")
    return (yaml.safe_load(parts[1]) or {}) if len(parts) > 2 else {}


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _sibling(name: str, content: bytes) -> dict:
    row = {"rfilename": name, "size": len(content), "blobId": _git(content)}
    if len(content) >= LARGE:
        row["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 130}
    return row
