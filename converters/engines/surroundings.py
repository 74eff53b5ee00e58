"""What a measured speed depends on. Whatever changes of it, a new measurement is due."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from u2net_zoo.system import processor_name, processors

from .runtimes import Candidate

__all__ = ["Surroundings", "digest_of", "versions_of"]

# One module, several packages that bring it: of onnxruntime, OpenVINO and MNN.
BUILDS = ("", "-gpu", "-rocm", "-migraphx", "-directml", "-silicon", "-openvino", "-nightly")


@dataclass(frozen=True)
class Surroundings:
    """Where something is measured, and for which size.

    Attributes:
        processor, cores: its name, and how many of its cores this process may use.
        threads: how many OMP_NUM_THREADS leaves of them; empty where it says nothing.
        runtimes: installed packages of all candidates -> versions.
        size: (H, W).
    """

    processor: str
    cores: int
    threads: str
    runtimes: Mapping[str, str]
    device: str
    size: tuple[int, int]

    @classmethod
    def here(cls, candidates: Iterable[Candidate], size: tuple[int, int], device: str) -> "Surroundings":
        threads = os.environ.get("OMP_NUM_THREADS", "")
        return cls(processor_name(), processors(), threads, versions_of(candidates), device, size)

    def key(self, *more: object) -> str:
        """A name for files about this, and about further plain values."""
        return digest_of([asdict(self), *more])


def versions_of(candidates: Iterable[Candidate]) -> dict[str, str]:
    """Packages that bring the candidates' runtimes -> their versions; `?` where one was not installed as a package."""
    found: dict[str, str] = {}
    for each in candidates:
        names = {f"{each.runtime}{build}": _version(f"{each.runtime}{build}") for build in BUILDS}
        found |= {name: each for name, each in names.items() if each} or {each.runtime: "?"}
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def digest_of(value: object) -> str:
    """40 hexadecimal digits of plain values: a name for files about them."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:40]
