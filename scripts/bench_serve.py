"""`u2zoo serve` against `rembg s`: how many masks a second, and how much memory.

    python scripts/bench_serve.py --rembg ~/rembg-venv/bin/rembg --model u2netp.onnx --images photographs

Both servers answer the same photographs with masks of the same network, under the same profile. They run in turns, each
alone on the machine, with a fresh process in every round: `--clients` clients send one photograph after the other until
`--requests` are answered. rembg lives in an environment of its own (pip install "rembg[cpu,cli]==2.0.86") and is given
the ONNX file; ours is given `--ours` (the same file, or weights that an engine is chosen for). Needs psutil, requests.
"""

import argparse
import io
import itertools
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import requests
from PIL import Image
from resident import megabytes

START = 120.0  # seconds that a server may take to answer for the first time
MODEL = "u2netp"  # the name under which rembg finds the file; of that name it asks what the network needs
EVERY = 0.1  # seconds between two looks at its memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rembg", type=Path, required=True, help="rembg's command")
    parser.add_argument("--model", type=Path, required=True, help="u2netp as an ONNX file")
    parser.add_argument("--ours", help="what ours runs; by default the same file")
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("serve", nargs="*", help="options of u2zoo serve, after --")
    given = parser.parse_args()
    photographs = [path.read_bytes() for path in sorted(given.images.iterdir())]
    with tempfile.TemporaryDirectory(prefix="u2zoo-bench-") as home:
        shutil.copy(given.model, Path(home) / f"{MODEL}.onnx")
        found: dict[str, list[tuple[float, float, list[bytes]]]] = {"rembg": [], "u2zoo": []}
        for _ in range(given.rounds):
            for name, rounds in found.items():
                rounds.append(one_round(name, given, Path(home), photographs))
                rate, memory, _masks = rounds[-1]
                print(f"{name}: {rate:.2f} masks/s, {memory:.0f} MB at most", file=sys.stderr, flush=True)
    report(found)


def one_round(
    name: str, given: argparse.Namespace, home: Path, photographs: list[bytes]
) -> tuple[float, float, list[bytes]]:
    """(masks a second, megabytes at most, the answers to the photographs)."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    if name == "rembg":
        command = [str(given.rembg), "s", "--host", "127.0.0.1", "--port", str(port), "--log_level", "error"]
        url = f"{address}/api/remove"
    else:
        model = given.ours or str(given.model)
        queue = ["--queue", str(2 * given.clients)]
        command = [sys.executable, "-m", "u2net_zoo", "serve", "--port", str(port), "--model", model]
        command += ["--profile", "rembg", *queue, *given.serve]
        url = f"{address}/api/mask"
    with running(command, {"U2NET_HOME": str(home), "MODEL_CHECKSUM_DISABLED": "1"}) as process:
        wait_for(url, photographs[0], process)
        peak, stop = [0.0], threading.Event()
        watcher = threading.Thread(target=watch, args=(process, peak, stop))
        watcher.start()
        start = time.perf_counter()
        load(url, photographs, given.clients, given.requests)
        rate = given.requests / (time.perf_counter() - start)
        stop.set()
        watcher.join()
        return rate, peak[0], [ask(url, photograph) for photograph in photographs]


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[psutil.Popen]:
    log = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes to it
    process = psutil.Popen(command, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        for one in (*process.children(recursive=True), process):
            one.kill()
        process.wait()
        log.close()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_for(url: str, photograph: bytes, process: psutil.Popen) -> None:
    """Until the server has answered one photograph: its model is loaded then."""
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        try:
            ask(url, photograph)
        except requests.ConnectionError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{url}: no answer within {START:g} s")


def ask(url: str, photograph: bytes) -> bytes:
    if url.endswith("/api/remove"):
        answer = requests.post(url, files={"file": photograph}, data={"model": MODEL, "om": "true"}, timeout=START)
    else:
        answer = requests.post(url, files={"image": photograph}, timeout=START)
    answer.raise_for_status()
    return answer.content


def load(url: str, photographs: list[bytes], clients: int, count: int) -> None:
    turn = itertools.count()
    failed: list[BaseException] = []

    def client() -> None:
        try:
            while (number := next(turn)) < count:
                ask(url, photographs[number % len(photographs)])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{url}: {failed[0]}")


def watch(process: psutil.Popen, peak: list[float], stop: threading.Event) -> None:
    """The largest sum of resident memory over the server and its processes."""
    while not stop.wait(EVERY):
        peak[0] = max(peak[0], megabytes(process))


def report(found: dict[str, list[tuple[float, float, list[bytes]]]]) -> None:
    middle = {
        name: (statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds))
        for name, rounds in found.items()
    }
    for name, (rate, memory) in middle.items():
        every = " ".join(f"{one[0]:.2f}" for one in found[name])
        print(f"{name}: {rate:.2f} masks/s ({every}), {memory:.0f} MB at most")
    ours, theirs = middle["u2zoo"], middle["rembg"]
    print(f"{ours[0] / theirs[0]:.2f}x rembg's masks a second, {ours[1] / theirs[1]:.2f}x its memory")
    pairs = zip(found["u2zoo"][0][2], found["rembg"][0][2], strict=True)
    apart = [np.abs(grey(ours) - grey(theirs)) for ours, theirs in pairs]
    worst, within = max(each.max() for each in apart), np.mean(np.concatenate([(e <= 1).ravel() for e in apart]))
    print(f"masks: at most {worst} grey levels apart; {within:.4%} within one")


def grey(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), int)


if __name__ == "__main__":
    main()
