"""How long a conversion will take: as long as the same one took before on this machine, or a rough figure.

A record is a small JSON file in `conversions/` under `U2ZOO_HOME`, one for each format, network, size and options. One
that is damaged or cannot be read or written costs nothing but a rougher figure.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from u2net_zoo.arch import Architecture
from u2net_zoo.catalog import home
from u2net_zoo.errors import U2ZooError
from u2net_zoo.files import staged
from u2net_zoo.flops import flops
from u2net_zoo.system import processor_name, processors

from ..format import Format
from ..options import DEFAULT_SIZE, Options

__all__ = ["BASIS", "expected_seconds", "recorded_seconds", "reference_seconds", "remember", "start_seconds"]

# u2netp at 320x320, 39.5 GFLOP, on two cores of an AMD EPYC, 2026-11-26: the command 4.3 s, of them the float64
# reference of two inputs 1.9 s; running and comparing the ONNX file 0.8 s.
BASIS = "u2netp to ONNX, 39.5 GFLOP at 320x320, took 4.3 s on two cores of a server (2026-11-26)"
START = 1.5
REFERENCE = 1.9 / 39.5e9
PROOF = 0.8 / 39.5e9
LONGEST = 4096  # bytes of a record


def start_seconds() -> float:
    """Of the program, and of reading the weights."""
    return START


def reference_seconds(arch: Architecture, size: tuple[int, int]) -> float:
    """Of the float64 reference, once for all formats, where it is not recorded yet."""
    return REFERENCE * flops(arch, size)


def expected_seconds(fmt: Format, arch: Architecture, options: Options) -> float:
    """Of writing and proving, without a record: what the exporter takes, and the operations of the proof."""
    return fmt.writing_seconds + PROOF * flops(arch, options.size or DEFAULT_SIZE)


def recorded_seconds(fmt: Format, arch: Architecture, options: Options) -> float | None:
    """Of writing and proving the same network with the same options on this machine, the last time."""
    try:
        path = _path(fmt, arch, options)
        if path.stat().st_size > LONGEST:
            return None
        seconds = json.loads(path.read_text(encoding="utf-8"))["seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 86400 else None


def remember(fmt: Format, arch: Architecture, options: Options, seconds: float) -> None:
    """Keeps what a conversion took, if that can be done."""
    about = {"format": fmt.name, "architecture": arch.name, "size": options.size, "seconds": round(seconds, 2)}
    try:
        with staged(_path(fmt, arch, options)) as path:
            path.write_text(json.dumps(about), encoding="utf-8")
    except (OSError, U2ZooError):  # full, or read-only
        return


def _path(fmt: Format, arch: Architecture, options: Options) -> Path:
    facts = (fmt.name, repr(arch), sorted(asdict(options).items(), key=str), processor_name(), processors())
    return home() / "conversions" / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.json"
