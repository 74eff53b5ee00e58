"""The folder of `--to web` with the real runtime in it, its own server, and what its page has."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
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


def small_folder(small: Checkpoint, store: Store) -> Path:
    """A small network's, written once in a run; that convert proves what it writes is tested elsewhere."""
    needs_runtime()

    def write(folder: Path) -> Path:
        path, web = folder / "small_web", FORMATS["web"]
        web.write(small, path, web.settle(Options(size=SIZE)))
        return path

    return store.once("a page to open", write)


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
