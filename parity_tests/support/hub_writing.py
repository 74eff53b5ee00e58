"""What is written on the hub of this machine (see `hub_server`): who may, branches, large files, commits."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LARGE", "TOKEN", "Repository", "Writing"]

TOKEN = "hf_PlantedTokenThatNobodyMayEverSee0123"  # noqa: S105 - nobody's
LARGE = 1000  # bytes from which a file is kept by its content, as Git LFS does


@dataclass
class Repository:
    """One repository; every commit is kept."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    card: dict = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], revision: str = "main", message: str = "") -> str:
        """The name of a commit that holds what there was and `files`."""
        held = {**self.commits.get(self.refs.get(revision, ""), {}), **files}
        text = repr([(name, hashlib.sha256(content).hexdigest()) for name, content in sorted(held.items())])
        name = hashlib.sha1(f"{len(self.commits)}{text}".encode(), usedforsecurity=False).hexdigest()
        self.commits[name], self.refs[revision] = held, name
        self.messages.append(message)
        return name

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.refs.get(revision, revision)]


class Writing:
    """The part of a request's handler that changes something."""

    hub: Any
    headers: Any
    rfile: Any
    body: bytes

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(401, message="Invalid credentials in Authorization header")
            return False
        if self.hub.role != "write":
            self._error(403, message="you do not have the rights")
            return False
        return True

    def _whoami(self) -> None:
        if self._fault("whoami"):
            return None
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(401, message="Invalid user token.")
        token = {"displayName": "t", "role": self.hub.role}
        return self._json({"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": token}})

    def _create(self) -> None:
        asked = json.loads(self.body)
        repo = f"{asked['organization'] or 'me'}/{asked['name']}"
        if self._fault("create") or not self._may_write():
            return None
        if repo in self.hub.repositories:
            return self._json(
                {"error": "You already created this model repo", "url": f"{self.hub.address}/{repo}"}, 409
            )
        self.hub.repositories[repo] = Repository(private=asked.get("visibility") == "private")
        self.hub.repositories[repo].commit({".gitattributes": b""}, message="initial commit")
        return self._json({"url": f"{self.hub.address}/{repo}", "name": repo})

    def _branch(self, repo: str, revision: str) -> None:
        held = self.hub.repositories[repo]
        if revision in held.refs:
            return self._error(409, message="Reference already exists")
        held.refs[revision] = held.refs["main"]
        return self._json({})

    def _validate(self) -> None:
        text = json.loads(self.body)["content"]
        good = text.startswith("---\n") and "\n---\n" in text
        self._json({"errors": [] if good else [{"message": "no metadata"}], "warnings": []}, 200 if good else 400)

    def _preupload(self, repo: str, revision: str) -> None:
        if self._fault("preupload") or not self._may_write() or not self._repository(repo, revision):
            return
        rows = [
            {"path": file["path"], "uploadMode": "lfs" if file["size"] >= LARGE else "regular", "shouldIgnore": False}
            for file in json.loads(self.body)["files"]
        ]
        self._json({"files": rows})

    def _batch(self, repo: str) -> None:
        if self._fault("batch") or not self._may_write():
            return
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.storage}/{each['oid']}?X-Sig=secretkeyofthefile"}}}
            for each in json.loads(self.body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _put(self, path: str) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._chunks()
        if self._fault("put"):
            return
        self.hub.uploads[path.strip("/")] = self.body
        self._send(200)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _commit(self, repo: str, revision: str) -> None:
        if self._fault("commit") or not self._may_write():
            return
        rows = [json.loads(line) for line in self.body.decode().splitlines()]
        files, message = {}, ""
        for row in rows:
            value = row["value"]
            if row["key"] == "header":
                message = value["summary"]
            elif row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                content = self.hub.uploads[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                files[value["path"]] = content
        commit = self.hub.repositories[repo].commit(files, revision, message)
        self._json({"commitUrl": f"{self.hub.address}/{repo}/commit/{commit}", "commitOid": commit, "success": True})
