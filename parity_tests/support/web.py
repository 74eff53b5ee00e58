"""The folder of `--to web` with the real runtime in it, its own server, and what its page has."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.artifacts import Store
from support.browser import executable

from converters import FORMATS, Options
from converters.formats.web.onnxruntime_web import runtime
from u2net_zoo import Session
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import DownloadError

SIZE = (64, 96)
NEAR, SHARE = 2, 0.99  # grey levels, and the share of pixels; measured: one level, all pixels (2026-11-21)


def needs_runtime() -> None:
    """onnxruntime-web is in the cache, or can be fetched; and there is a browser to run it. Or a skip."""
    executable()
    try:
        runtime()
    except DownloadError:
        pytest.skip("needs onnxruntime-web")


def folder_of(network: Checkpoint, size: tuple[int, int], store: Store) -> Path:
    """The network's page, written once in a run; that convert proves what it writes is tested elsewhere."""
    needs_runtime()

    def write(folder: Path) -> Path:
        path, web = folder / "web", FORMATS["web"]
        web.write(network, path, web.settle(Options(size=size)))
        return path

    return store.once(f"a page of {network.arch.name} {size}", write)


def session_of(network: Checkpoint, size: tuple[int, int]) -> Session:
    """In Torch; it is fed at the size that the folder's model takes."""
    found = Session(network)
    found.preparation = replace(found.preparation, size=size)
    return found


@contextlib.contextmanager
def isolated(folder: Path) -> Iterator[str]:
    """The address under which the folder's own `serve.py` serves it."""
    command = [sys.executable, folder / "serve.py", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def close(found: np.ndarray, session: Session, photograph: Image.Image) -> bool:
    """Whether grey levels (any shape) are the mask that the session has of the photograph."""
    wanted = np.asarray(session.mask(photograph), np.int16)
    return bool((np.abs(found.reshape(wanted.shape) - wanted) <= NEAR).mean() >= SHARE)
