"""A real `u2zoo serve` in a process of its own, on a free port; and what is bad for it."""

import contextlib
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import requests
from support.artifacts import Store

from converters import FORMATS, Options
from u2net_zoo.checkpoint import Checkpoint


def png_of_zeros(width: int, height: int) -> bytes:
    """A valid PNG of one bit a pixel, all black: 30,000 x 30,000 of them are 110 kB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def shared_model(checkpoint: Checkpoint, store: Store) -> Path:
    """A model that answers in a moment, written once in a run; what formats write is proved elsewhere."""

    def write(folder: Path) -> Path:
        path = folder / "small.onnx"
        FORMATS["onnx"].write(checkpoint, path, FORMATS["onnx"].settle(Options(size=(64, 64))))
        return path

    return store.once("a model to serve", write)


class Served:
    """The process and its address."""

    def __init__(
        self, model: Path | str, *options: str, python: Path | str = sys.executable, folder: Path | None = None
    ):
        command = [python, "-m", "u2net_zoo", "serve", "--port", "0", "--model", str(model), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
        line = self.process.stdout.readline()
        assert line.startswith("http://"), self.process.stderr.read()
        self.base = line.split()[0]
        self.host, port = self.base.removeprefix("http://").split(":")
        self.port = int(port)

    def post(self, body: bytes | None = None, path: str = "/api/mask", **more) -> requests.Response:
        return requests.post(self.base + path, data=body, timeout=60, **more)

    def get(self, path: str, **more) -> requests.Response:
        return requests.get(self.base + path, timeout=60, **more)

    @property
    def megabytes(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def stop(self, signal: int) -> int:
        self.process.send_signal(signal)
        return self.process.wait(timeout=20)


@contextlib.contextmanager
def served(model: Path, *options: str) -> Iterator[Served]:
    running = Served(model, *options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()
