"""`u2zoo serve` and time: clients that do not read, work that takes too long; and what is not the request's fault."""

import asyncio
import io
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data
from support.lasting import full_for
from support.serving import Served, served, shared_model

from u2net_zoo import Session
from u2net_zoo.apps import APPLICATIONS, Application, Result
from u2net_zoo.serve.engine import Answer, Engine, Job
from u2net_zoo.serve.limits import Limits, RefusalError

TIMEOUT = 6  # enough for the answer on a busy machine, too


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model(small, store) -> Path:
    return shared_model(small, store)


@pytest.fixture(scope="module")
def server(model):
    with served(model, "--timeout", str(TIMEOUT)) as running:
        yield running


@pytest.fixture(scope="module")
def noise() -> bytes:
    """A photograph whose cut-out is larger than what a connection's own buffers hold (4 MB): about 8 MB."""
    return encoded(np.random.default_rng(0).integers(0, 256, (2300, 2300, 3), dtype=np.uint8), "JPEG")


def asked(server: Served, body: bytes, *lines: str) -> socket.socket:
    """A connection with small buffers that has sent a photograph for its cut-out, and has read nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect((server.host, server.port))
    head = ["POST /api/highlight HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *lines]
    connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    return connection


def taken(connection: socket.socket) -> tuple[int, int]:
    """How many bytes of an answer's body come, and how many were promised."""
    found = bytearray()
    while b"\r\n\r\n" not in found:
        found += connection.recv(1)
    head, length = bytes(found), 0
    assert head.startswith(b"HTTP/1.1 200"), head
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    try:
        while length < promised and (part := connection.recv(1 << 20)):
            length += len(part)
    except ConnectionResetError:
        pass
    return length, promised


@pytest.mark.parametrize("line", full_for(["Connection: close", "Connection: keep-alive"], "Connection: close"))
def test_an_answer_that_is_not_taken_is_given_up(server, noise, line):
    with asked(server, noise, line) as never:
        assert never.recv(8, socket.MSG_PEEK) == b"HTTP/1.1"  # the answer is there; the clock has started
        ended = select.poll()
        ended.register(never, select.POLLRDHUP)
        assert ended.poll(1000 * (TIMEOUT + 2))  # and not only when it reads: the system would keep megabytes of it
        length, promised = taken(never)
        assert promised > 7_000_000
        assert length < promised


def test_an_answer_that_is_taken_late_but_in_time_is_whole(server, noise):
    with asked(server, noise) as late:
        late.recv(8, socket.MSG_PEEK)
        time.sleep(TIMEOUT / 3)
        length, promised = taken(late)
        assert length == promised


@dataclass(frozen=True)
class Slow(Application):
    """Takes three seconds before the network is asked."""

    name = "slow"
    title = "Photographs, slowly."

    def before(self, image: Image.Image) -> Image.Image:
        time.sleep(3)
        return image

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        return Result({"": mask})


async def here() -> bool:
    return False


def job(kind: type[Application], photograph: np.ndarray, picture: str | None = "", **query: str) -> Job:
    return Job(kind, list(query.items()), io.BytesIO(encoded(photograph)), {}, here, picture)


def answered(session: Any, wanted: Job) -> Answer:
    async def run() -> Answer:
        engine = Engine(lambda kind: session, Limits())
        try:
            return await engine.run(wanted)
        finally:
            engine.close()

    return asyncio.run(run())


def test_work_that_takes_too_long_is_told_of_in_time_and_ends_with_its_step():
    async def run() -> None:
        opened: list[type[Application]] = []
        engine = Engine(opened.append, Limits(timeout=0.3))
        start = time.monotonic()
        with pytest.raises(RefusalError, match=r"not finished within 0.3 s") as late:
            await engine.run(job(Slow, data.chelsea()))
        assert (late.value.status, engine.inside) == (504, 1)
        assert time.monotonic() - start < 2.5
        while engine.inside and time.monotonic() - start < 20:
            await asyncio.sleep(0.05)
        assert engine.inside == 0
        assert opened == []  # the network was not asked for nobody
        engine.close()

    asyncio.run(run())


def test_a_package_that_is_missing_is_the_servers_fault(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # what Python does for a package that is not there
    with pytest.raises(
        RefusalError, match=r"portrait: .* needs the package 'opencv-python-headless', which this"
    ) as lack:
        answered(Session(model), job(APPLICATIONS["portrait"], data.astronaut()))
    assert lack.value.status == 503
    assert "pip" not in str(lack.value)


def test_a_model_that_is_none_for_an_application_is_the_servers_fault(model):
    with pytest.raises(RefusalError, match="clothes: ") as wrong:
        answered(Session(model), job(APPLICATIONS["clothes"], data.chelsea()))
    assert wrong.value.status == 503


def test_the_size_is_the_photographs_whatever_the_network_saw(model):
    pytest.importorskip("cv2", reason="needs the extra apps")
    photograph = np.asarray(Image.fromarray(data.astronaut()).resize((700, 650)))
    facts = answered(Session(model), job(APPLICATIONS["portrait"], photograph, None)).facts
    assert facts["facts"]["face"]  # it was cut out, to 512 by 512
    assert facts["size"] == [700, 650]


def test_the_command_line_does_not_load_the_server():
    check = (
        "import sys, u2net_zoo.cli; print([m for m in ('fastapi', 'uvicorn', 'starlette', 'PIL') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout == "[]\n"
