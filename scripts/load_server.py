"""`u2zoo serve` under load: many clients, good photographs among bad ones, for some minutes.

    python scripts/load_server.py --seconds 120 --clients 64

Every kind of request has the answers that are right for it. The exit code is 1 when one got another, when the server
answered 500 or ended, or when its memory grew by more than `--growth` MB over the second half. Needs psutil.
"""

import argparse
import io
import random
import re
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "parity_tests")]
from support.serving import png_of_zeros  # noqa: E402

PATIENCE = 60.0  # seconds that a client waits
BUSY = {503, 504}


@dataclass(frozen=True)
class Kind:
    """A kind of request: its parts as they are sent, and the statuses that are right; 0: the server hung up on it.

    With `hang_up` the client ends the connection, and without `reads` it waits until the server does.
    """

    name: str
    weight: int
    parts: list[bytes]
    right: set[int]
    pause: float = 0.0
    hang_up: bool = False
    reads: bool = True


@dataclass
class Tally:
    """What came back."""

    statuses: dict[str, Counter] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    wrong: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: Kind, status: int, seconds: float) -> None:
        with self.lock:
            self.statuses.setdefault(kind.name, Counter())[status] += 1
            if status == 200:
                self.seconds.append(seconds)
            if status not in kind.right:
                self.wrong[f"{kind.name}: {status}"] += 1


def photograph(side: int) -> bytes:
    from PIL import Image
    from skimage import data

    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).resize((side, side * 3 // 4)).save(buffer, "JPEG")
    return buffer.getvalue()


def noise(side: int) -> bytes:
    """A photograph whose result, as a PNG file of `side` * `side` * 3 bytes, no connection's own buffers hold."""
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def zip_of_zeros() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as member:
        for _ in range(200):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def post(body: bytes, *more: str, path: str = "/api/mask") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def form(picture: bytes, end: bytes = b"\r\n--xyz--\r\n") -> bytes:
    head = b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return post(head + picture + end, "Content-Type: multipart/form-data; boundary=xyz")


def kinds() -> list[Kind]:
    good, large, pixel = photograph(400), photograph(1600), png_of_zeros(1, 1)
    chunked = b"POST /api/mask HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    megabyte = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    request = post(good)
    return [
        Kind("good photograph", 20, [request], {200, *BUSY}),
        Kind("good photograph, 1600 pixels", 4, [post(large)], {200, *BUSY}),
        Kind("good photograph in a form", 6, [form(good)], {200, *BUSY}),
        Kind("facts", 4, [post(good, "Accept: application/json")], {200, *BUSY}),
        Kind("1 pixel", 6, [post(pixel)], {200, *BUSY}),
        Kind("30,000 pixels wide", 6, [post(png_of_zeros(30_000, 2))], {413, *BUSY}),
        Kind("bomb of 30,000 x 30,000", 6, [post(png_of_zeros(30_000, 30_000))], {413, *BUSY}),
        Kind("zip bomb", 4, [post(zip_of_zeros())], {400, *BUSY}),
        Kind("truncated JPEG", 6, [post(good[: len(good) // 2])], {400, *BUSY}),
        Kind("no photograph", 6, [post(random.Random(0).randbytes(5000))], {400, *BUSY}),  # noqa: S311 - noise
        Kind("nothing", 3, [post(b"")], {400, *BUSY}),
        Kind("broken form", 4, [form(good, b"")], {200, 400, *BUSY}),
        Kind("form without image", 3, [form(good).replace(b'name="image"', b'name="photo"')], {400, *BUSY}),
        Kind("unknown application", 2, [post(good, path="/api/mash")], {404}),
        Kind("unknown option", 2, [post(good, path="/api/mask?x=1")], {422}),
        Kind("too many bytes announced", 3, [post(b"").replace(b"Length: 0", b"Length: 999999999")], {413, 503}),
        Kind("endless chunks", 2, [chunked, *[megabyte] * 64], {413, 503, 0}),
        Kind("slow body", 2, [request[:300], *[request[300 + n : 301 + n] for n in range(40)]], {408, 503, 0}, 0.5),
        Kind("slow head", 2, [request[n : n + 1] for n in range(40)], {0}, 0.5),
        Kind("hangs up", 3, [request[: len(request) // 2]], {0}, hang_up=True),
        Kind("never reads", 2, [post(noise(2400), path="/api/highlight")], {0, *BUSY}, reads=False),
        Kind("not HTTP", 2, [b"\x16\x03\x01\x02\x00garbage\r\n\r\n"], {400}),
    ]


def ask(address: tuple[str, int], kind: Kind) -> tuple[int, int]:
    """The status, 0 where none came; and the seconds after which the server says to come back."""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        try:
            for part in kind.parts:
                connection.sendall(part)
                time.sleep(kind.pause)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has answered, or given up
        if kind.hang_up:
            return 0, 0
        if not kind.reads:
            wait_for_the_end(connection)
        return told(received(connection))


def wait_for_the_end(connection: socket.socket) -> None:
    """Until the server ends the connection; nothing is read. Raises TimeoutError."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    if not poll.poll(1000 * PATIENCE):
        raise TimeoutError


def received(connection: socket.socket) -> bytes:
    answer = bytearray()
    try:
        while part := connection.recv(1 << 16):
            answer += part
    except ConnectionResetError:
        pass
    return bytes(answer)


def told(answer: bytes) -> tuple[int, int]:
    """The status, 0 where none came or where the body is cut off; and the seconds after which to come back."""
    head, _, body = answer.partition(b"\r\n\r\n")
    again = re.search(rb"(?i)retry-after: ([0-9]+)", head)
    length = re.search(rb"(?i)content-length: ([0-9]+)", head)
    whole = head.startswith(b"HTTP/") and (not length or len(body) >= int(length[1]))
    return int(head.split(b" ", 2)[1]) if whole else 0, int(again[1]) if again else 0


def client(address: tuple[str, int], all: list[Kind], tally: Tally, end: float, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a choice, no secret
    while time.monotonic() < end:
        kind = chance.choices(all, [k.weight for k in all])[0]
        start = time.monotonic()
        again = 0
        try:
            status, again = ask(address, kind)
        except TimeoutError:
            status = -1
        except OSError:
            status = -2
        tally.add(kind, status, time.monotonic() - start)
        time.sleep(again * chance.random())


def rss(process: subprocess.Popen) -> float:
    """Megabytes of memory that the process holds."""
    import psutil

    return psutil.Process(process.pid).memory_info().rss / 2**20


def cpu(process: subprocess.Popen) -> float:
    """Seconds of processor time that the process has used."""
    import psutil

    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def started(more: list[str]) -> tuple[subprocess.Popen, tuple[str, int]]:
    command = [sys.executable, "-m", "u2net_zoo", "serve", "--port", "0", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    line = process.stdout.readline() if process.stdout else ""
    host, port = line.split()[0].removeprefix("http://").rsplit(":", 1)
    return process, (host, int(port))


def watch(process: subprocess.Popen, end: float, every: float) -> list[float]:
    held = []
    while (left := end - time.monotonic()) > 0 and process.poll() is None:
        time.sleep(min(every, left))
        held.append(rss(process))
    return held


def report(tally: Tally, seconds: float, before: float, held: list[float], after: float) -> None:
    total = sum((counts for counts in tally.statuses.values()), Counter())
    for name, counts in tally.statuses.items():
        print(f"{name:<30} {'  '.join(f'{status}: {n}' for status, n in sorted(counts.items()))}")
    print(f"\n{sum(total.values())} requests in {seconds:.0f} s; by status: {dict(sorted(total.items()))} (0: hung up)")
    times = sorted(tally.seconds) or [0.0]
    p95 = times[int(0.95 * (len(times) - 1))]
    print(f"answered with 200: median {statistics.median(times):.2f} s, p95 {p95:.2f} s")
    print(f"memory: {before:.0f} MB before, {max(held):.0f} MB at most, {after:.0f} MB after")
    print(f"wrong answers: {dict(tally.wrong) or 0}; 500: {total[500]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--growth", type=float, default=100, help="MB that memory may grow by over the second half")
    parser.add_argument("serve", nargs="*", help="options of u2zoo serve, after --")
    given = parser.parse_args()
    process, address = started(given.serve or ["--timeout", "10"])
    try:
        return run(given, process, address)
    finally:
        process.terminate()
        print(f"ended with {process.wait(timeout=30)}")


def run(given: argparse.Namespace, process: subprocess.Popen, address: tuple[str, int]) -> int:
    all, tally = kinds(), Tally()
    warm = all[0]
    assert ask(address, warm)[0] == 200, "the server does not answer a good photograph"  # noqa: S101
    before, end = rss(process), time.monotonic() + given.seconds
    target: Callable[..., None] = client
    threads = [
        threading.Thread(target=target, args=(address, all, tally, end, seed), daemon=True)
        for seed in range(given.clients)
    ]
    for thread in threads:
        thread.start()
    held = watch(process, end, every=5)
    for thread in threads:
        thread.join(PATIENCE)
    time.sleep(2)
    alive = process.poll() is None and ask(address, warm)[0] == 200
    after = rss(process) if alive else 0.0
    if alive:
        print(f"processor time: server {cpu(process):.0f} s, clients {time.process_time():.0f} s")
    report(tally, given.seconds, before, held, after)
    grown = after - held[len(held) // 2]
    print(f"grown by {grown:.0f} MB over the second half; {'answers still' if alive else 'THE SERVER IS GONE'}")
    bad = not alive or tally.wrong or grown > given.growth
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
