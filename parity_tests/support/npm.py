"""A package registry on this machine whose onnxruntime-web is a few bytes: all of `--to web` but the browser's part."""

import contextlib
import hashlib
import importlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import webserver

from u2net_zoo.catalog import File

RUNTIME = importlib.import_module("converters.formats.web.onnxruntime_web")
MODULES = [module for module, _ in RUNTIME.ENGINES.values()]
CONTENTS = {name: b"export default 1;\n" if name in MODULES else b"\0asm\1\0\0\0" for name in RUNTIME.MEMBERS}


def archive(path: Path) -> Path:
    """As npm packs it, with members that nobody asks for."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {**CONTENTS, "ort.js": b"not wanted"}.items():
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@contextlib.contextmanager
def small_registry(folder: Path) -> Iterator[webserver.Server]:
    """The registry that `runtime` asks, with its package pinned; the cache is empty, in `folder`."""
    place = folder / "www" / "onnxruntime-web" / "-"
    place.mkdir(parents=True)
    packed = archive(place / RUNTIME.ARCHIVE.file)
    sha256 = hashlib.sha256(packed.read_bytes()).hexdigest()
    members = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()}
    server = webserver.Server(folder / "www").start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RUNTIME, "ARCHIVE", File(file=packed.name, bytes=packed.stat().st_size, sha256=sha256))
        patch.setattr(RUNTIME, "MEMBERS", members)
        patch.setenv("U2ZOO_NPM", f"{server.base}/ok/")
        patch.setenv("U2ZOO_HOME", str(folder / "home"))
        patch.delenv("U2ZOO_OFFLINE", raising=False)
        yield server
    server.close()
