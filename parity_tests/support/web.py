"""The folder of `--to web` with the real runtime in it, its own server, and what its page has."""

import base64
import contextlib
import functools
import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.artifacts import Store
from support.browser import Browser, executable

from converters import FORMATS, Options
from converters.formats.web.onnxruntime_web import runtime
from u2net_zoo import Session
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import DownloadError

SIZE = (64, 96)
NEAR, SHARE = 2, 0.99  # grey levels, and the share of pixels; measured: one level, all pixels (2026-11-21)
# Photographs that come at once: what became of each is in `ended`, as grey levels or as words.
AT_ONCE = """window.ended = {};
for (const [name, content] of Object.entries(%s)) {
    const file = new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name);
    decoded(file).then((bitmap) => engine.mask(file, bitmap, () => {}))
        .then((mask) => Array.from(pixelsOf(mask)), (error) => error.message).then((end) => { ended[name] = end; });
}
null; // nothing to wait for"""
# A worker that never answers `first.png` and ends itself with `second.png`; what it has not answered then is open.
ENDING = """
const usual = onmessage;
onmessage = (event) => {
    if (event.data.file?.name === "second.png" && %s) throw new Error("it ended");
    if (event.data.file?.name !== "first.png" || !(%s)) usual(event);
};
"""
# A worker in which a run takes a while, and a second one beside it fails.
ONE_AT_A_TIME = """
const opened = open;
open = async (question) => {
    const found = await opened(question);
    const { run } = model;
    let busy = false;
    model.run = async (data) => {
        if (busy) throw new Error("two runs at once");
        busy = true;
        await new Promise((done) => setTimeout(done, 50));
        const mask = await run(data);
        busy = false;
        return mask;
    };
    return found;
};
"""
NEVER_STARTING = "self.Worker = class extends EventTarget { postMessage() {} terminate() {} };\n"


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
def unadorned(folder: Path) -> Iterator[str]:
    """The address of a web server for files that sends no header of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


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


def copied(folder: Path, place: Path, name: str, content: str) -> Path:
    """A copy in which one file is another."""
    copy = place / "web"
    shutil.copytree(folder, copy, copy_function=lambda a, b: Path(b).hardlink_to(a))
    (copy / name).unlink()
    (copy / name).write_text(content, "utf-8", newline="\n")
    return copy


def take_at_once(opened: Browser, photographs: dict[str, Image.Image]) -> None:
    files = {name: io.BytesIO() for name in photographs}
    for name, photograph in photographs.items():
        photograph.save(files[name], "PNG")
    opened.evaluate(AT_ONCE % json.dumps({n: base64.b64encode(f.getvalue()).decode() for n, f in files.items()}))


def ended(opened: Browser, count: int) -> dict:
    """What became of each, once all have come to an end."""
    opened.wait_for(f"Object.keys(ended).length === {count}", 60)
    return opened.evaluate("ended")


def are_the_networks(masks: dict, session: Session, photographs: dict[str, Image.Image]) -> bool:
    return all(close(np.array(masks[name], np.int16), session, photographs[name]) for name in photographs)
