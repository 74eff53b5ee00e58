"""onnxruntime-web, from its npm package: fetched once, verified, kept in the cache.

U2ZOO_NPM, npm_config_registry   another registry than npm's own, such as a mirror
"""

import hashlib
import os
import tarfile
from pathlib import Path

from u2net_zoo import system
from u2net_zoo.catalog import File, home
from u2net_zoo.downloads import fetch_pinned
from u2net_zoo.errors import DownloadError

__all__ = ["MODULE", "WASM", "runtime"]

VERSION = "1.23.0"  # the onnxruntime that proves the model
REGISTRY = "https://registry.npmjs.org"
ARCHIVE = File(
    file=f"onnxruntime-web-{VERSION}.tgz",
    bytes=25_486_404,
    sha256="7e0074d9319fdef002bcf28ef73eb119dd6302083fa0395ec560cb4e5ca0970b",
)
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
MEMBERS = {  # of the archive's 400: name to (bytes, sha256)
    MODULE: (68_628, "9bfe69fdc86a6ce7aacaccfada8d3124237328efd61eac0e594832488ef3457d"),
    WASM: (11_815_498, "3260fcdb33b4fc4ec33e89caf392e13625823e01049d3bf32c38464f9dbfe14c"),
}


def runtime() -> dict[str, bytes]:
    """The runtime's files by name, from the cache or from the registry.

    Raises:
        DownloadError: it cannot be fetched, or is not what it should be. OutputError: the cache cannot be written.
    """
    folder = home() / f"onnxruntime-web-{VERSION}"
    if not all(_is_intact(folder / name, name) for name in MEMBERS):
        fetch_pinned("onnxruntime-web", ARCHIVE, _address(), folder, _unpack)
    return {name: (folder / name).read_bytes() for name in MEMBERS}


def _address() -> str:
    registry = os.environ.get("U2ZOO_NPM") or os.environ.get("npm_config_registry") or REGISTRY  # noqa: SIM112 - npm's own
    return f"{registry.rstrip('/')}/onnxruntime-web/-/{ARCHIVE.file}"


def _is_intact(path: Path, name: str) -> bool:
    return path.is_file() and path.stat().st_size == MEMBERS[name][0] and _has_hash(path.read_bytes(), name)


def _has_hash(content: bytes, name: str) -> bool:
    return hashlib.sha256(content).hexdigest() == MEMBERS[name][1]


def _unpack(archive: Path, folder: Path) -> None:
    """The named members, as plain files and nothing else. Raises DownloadError."""
    with tarfile.open(archive, "r:gz") as tar:
        for name, (size, _) in MEMBERS.items():
            member = _member(tar, f"package/dist/{name}")
            stream = tar.extractfile(member) if member and member.isreg() and member.size == size else None
            content = stream.read(size) if stream else b""
            if not _has_hash(content, name):
                raise DownloadError(f"{name} in {archive.name} is not the file that was pinned")
            partial = archive.with_name(name)
            partial.write_bytes(content)
            system.replace(partial, folder / name)


def _member(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo | None:
    try:
        return tar.getmember(name)
    except KeyError:
        return None
