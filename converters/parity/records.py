"""What references answered, kept under `U2ZOO_HOME`: a second conversion of the same weights computes nothing twice.

A record is a file of its own in `references/`: the SHA-256 of what follows, then an .npz without pickles. It goes by
everything that its figures depend on, the text of the code that computes them among it, so that no other version's is
taken. One that is damaged, of another kind or cannot be read or written costs time, never a result. Whoever can write
to that folder can have a wrong file pass; whoever can do that can change this package too.
"""

import contextlib
import functools
import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from u2net_zoo.catalog import home
from u2net_zoo.errors import U2ZooError
from u2net_zoo.files import staged
from u2net_zoo.system import features, processor_name

__all__ = ["LARGEST", "MOST", "fetched", "kept", "key_of", "usual_arithmetic"]

MOST = 256 << 20  # bytes of all records; the oldest go first. u2netp at 320x320: 11 MB
LARGEST = 128 << 20  # bytes of one; IS-Net at 1024x1024: 101 MB
DIGEST = hashlib.sha256().digest_size
# Settings from the environment that choose kernels or their number of threads, and with them float32's last digits.
SETTINGS = ("OMP_", "MKL_", "ATEN_", "DNNL_", "ONEDNN_", "KMP_", "GOMP_", "TORCH", "PYTORCH_")


def key_of(kind: str, code: tuple[str, ...], *facts: object, inputs: np.ndarray, kernels: bool = False) -> str:
    """Under what a result is kept.

    Args:
        code: files whose text is part of it: those that compute it.
        facts: what else it depends on.
        kernels: it depends on the processor and its settings too, as every sum in float32 does.
    """
    found = hashlib.sha256(f"{kind} {[_digest(file) for file in code]} {_torch()} {facts!r}".encode())
    found.update(f" {inputs.shape} {inputs.dtype} ".encode())
    found.update(np.ascontiguousarray(inputs).data)
    if kernels:
        chosen = {key: value for key, value in os.environ.items() if key.startswith(SETTINGS)}
        found.update(f"{processor_name()} {sorted(features())} {sorted(chosen.items())}".encode())
    return found.hexdigest()


def usual_arithmetic() -> bool:
    """Whether Torch computes float32 as it does when nobody sets anything: other noise is not kept, and not fetched."""
    torch = sys.modules.get("torch")
    if torch is None:
        return True
    backend = torch.backends.mkldnn
    return bool(
        torch.get_float32_matmul_precision() == "highest"
        and backend.is_available() in (False, backend.enabled)
        and getattr(backend, "fp32_precision", "none") in ("none", "ieee")
        and getattr(getattr(backend, "conv", None), "fp32_precision", "none") in ("none", "ieee")
        and not torch.are_deterministic_algorithms_enabled()
        and (torch.tensor([1e-39]) * 0.5).item() > 0  # numbers next to zero are not taken for it
    )


def fetched(key: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray] | None:
    """The float64 arrays that were kept under `key`, if they are whole, finite and have these names and shapes."""
    path = _path(key)
    try:
        if path.stat().st_size > LARGEST:
            return None
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            return None
        with np.load(io.BytesIO(content[DIGEST:]), allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except Exception:  # a file that somebody else wrote there fails in any way
        return None
    if {name: value.shape for name, value in found.items()} != dict(shapes):
        return None
    if not all(value.dtype == np.float64 and np.isfinite(value).all() for value in found.values()):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # asked for lately: it goes last
    return found


def kept(key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Keeps arrays under `key` if that can be done, and clears the oldest records where there are too many."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # as `np.savez`, whose `allow_pickle` NumPy 1.26 does not know
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    data = content.getvalue()
    if len(data) + DIGEST > LARGEST:
        return
    try:
        with staged(_path(key)) as path:
            path.write_bytes(hashlib.sha256(data).digest() + data)
        _clear()
    except (OSError, U2ZooError):  # full, or read-only
        return


def _clear() -> None:
    """Removes the records that were not asked for longest, until `MOST` holds."""
    records = sorted(
        ((file.stat(), file) for file in _path("").parent.glob("*.npz")), key=lambda each: -each[0].st_mtime
    )
    total = 0
    for facts, file in records:
        total += facts.st_size
        if total > MOST:
            file.unlink(missing_ok=True)


def _path(key: str) -> Path:
    return home() / "references" / f"{key}.npz"


@functools.cache
def _digest(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _torch() -> str:
    """Torch's version, without importing it."""
    with contextlib.suppress(PackageNotFoundError):
        return version("torch")
    return "none"
