"""Broken copies of an artifact, for the tests and for scripts/fuzz_readers.py."""

import hashlib
import shutil
from pathlib import Path

__all__ = ["KINDS", "broken_copy", "mutate"]

KINDS = ("cut", "bit", "byte", "zeros", "ones", "insert", "remove", "swap")


def mutate(content: bytes, kind: str, place: float, value: int) -> bytes:
    """`content` broken at `place` (0 … 1); `value` (0 … 255) chooses the bit, the byte or the length."""
    at = min(int(place * len(content)), max(len(content) - 1, 0))
    run = 1 + value
    if kind == "cut":
        return content[:at]
    if kind == "bit":
        return content[:at] + bytes([content[at] ^ (1 << value % 8)]) + content[at + 1 :]
    if kind == "byte":
        return content[:at] + bytes([value]) + content[at + 1 :]
    if kind in ("zeros", "ones"):
        return (
            content[:at] + (b"\0" if kind == "zeros" else b"\xff") * len(content[at : at + run]) + content[at + run :]
        )
    if kind == "insert":
        return content[:at] + bytes([value]) * run + content[at:]
    if kind == "remove":
        return content[:at] + content[at + run :]
    return content[:at] + content[at + run : at + 2 * run] + content[at : at + run] + content[at + 2 * run :]


def broken_copy(source: Path, folder: Path, which: int, kind: str, place: float, value: int) -> Path:
    """A copy of a file or folder in `folder`, with its `which`-th file broken."""
    target = folder / source.name
    if source.is_file():
        target.write_bytes(mutate(source.read_bytes(), kind, place, value))
        return target
    shutil.copytree(source, target)
    files = sorted(file for file in target.rglob("*") if file.is_file() and file.stat().st_size)
    chosen = files[which % len(files)]
    chosen.write_bytes(mutate(chosen.read_bytes(), kind, place, value))
    if chosen.name == "main.mlirb" and value % 4:  # most times with a checksum that fits, or nothing behind it is tried
        (target / "main.hash").write_bytes(hashlib.sha256(chosen.read_bytes()).digest())
    return target
