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

__all__ = ["ENGINES", "runtime"]

VERSION = "1.30.0"  # the newest on 2026-11-26
REGISTRY = "https://registry.npmjs.org"
ARCHIVE = File(
    file=f"onnxruntime-web-{VERSION}.tgz",
    bytes=33_106_585,
    sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
)
ENGINES = {  # what a browser loads for each: the module and its WebAssembly
    "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
}
MEMBERS = {  # of the archive's 500: name to (bytes, sha256)
    "ort.webgpu.bundle.min.mjs": (117_732, "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2"),
    "ort-wasm-simd-threaded.asyncify.wasm": (
        26_781_914,
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    ),
    "ort.wasm.bundle.min.mjs": (73_054, "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"),
    "ort-wasm-simd-threaded.wasm": (14_239_897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
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
