#!/usr/bin/env python3
"""Breaks a file of every format in thousands of ways and counts what the readers say.

    python scripts/fuzz_readers.py --count 200 --seed 1
    python scripts/fuzz_readers.py --count 200 --seed 1 --run --formats mnn,tflite:w8a8

Every broken file is read, or with --run handed to its runtime as `u2zoo mask` does, in a process that is watched: it
has to end in a network or in one clear error, within 10 seconds and 2 GB, and to leave no file behind. Prints a table;
ends with 1 when anything else happened. Runs on Linux and macOS: Windows cannot wait for a pipe.
"""

import argparse
import json
import os
import random
import select
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "parity_tests")]

SECONDS, BYTES = 10, 2 << 30
COLUMNS = ("network", "error", "unexpected", "crash", "hang", "memory", "left")


def worker(run: bool) -> None:
    """Reads or runs the file named on each line of stdin; answers with one JSON line."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import numpy as np

    from converters.loading import format_of, read_source
    from u2net_zoo.errors import U2ZooError
    from u2net_zoo.system import peak_memory, peak_of_children

    for line in sys.stdin:
        answer, text = "network", ""
        try:
            if run:
                path = Path(line.rstrip("\n"))
                format_of(path).run(path)(np.zeros((1, 3, 32, 32), np.float32))
            else:
                read_source(line.rstrip("\n"))
        except U2ZooError as error:
            answer, text = "error" if str(error) and "\n" not in str(error) else "unexpected", str(error)
        except BaseException as error:
            answer, text = "unexpected", f"{type(error).__name__}: {error}"
        peak = max(peak_memory(), peak_of_children())
        print(json.dumps([answer, text[:300], peak]), file=out, flush=True)


class Watched:
    """A worker; it is started again when it dies or does not answer."""

    def __init__(self, whole: Path, run: bool):
        self.whole, self.run = whole, run
        self.process: Any = None
        self.peak = 0

    def read(self, path: Path) -> tuple[str, str]:
        process: Any = self.process or self.start()
        process.stdin.write(f"{path}\n".encode())
        process.stdin.flush()
        if not select.select([process.stdout], [], [], SECONDS)[0]:
            return self.stop("hang")
        line = process.stdout.readline()
        if not line:
            return self.stop("crash")
        answer, text, peak = json.loads(line)
        self.peak = max(self.peak, peak)
        return self.stop("memory") if peak > BYTES else (answer, text)

    def start(self) -> Any:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--worker", *(["--run"] if self.run else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        # The frameworks are imported by the whole file, which is not timed.
        self.process.stdin.write(f"{self.whole}\n".encode())
        self.process.stdin.flush()
        answer, text, _ = json.loads(self.process.stdout.readline() or '["crash", "", 0]')
        if answer != "network":
            raise SystemExit(f"{self.whole.name}: whole, and {answer}: {text}")
        return self.process

    def stop(self, reason: str) -> tuple[str, str]:
        process, self.process = self.process, None
        if process:
            process.kill()
        return reason, f"exit code {process.wait() if process else None}"


def artifacts(folder: Path, names: list[str]) -> dict[str, Path]:
    """A small network in every format, also in integers where a file is another one then."""
    from support.artifacts import ALL
    from support.integer_files import WRITERS
    from support.networks import SMALL, hard_checkpoint

    from converters import FORMATS, Options

    checkpoint = hard_checkpoint(SMALL)
    paths = {}
    for name in names or (*ALL, *WRITERS):
        fmt = FORMATS[name.partition(":")[0]]
        paths[name] = fmt.target(folder, name.replace(":", "-"))
        if name in WRITERS:
            WRITERS[name](paths[name])
        else:
            fmt.write(checkpoint, paths[name], fmt.settle(Options(size=(32, 32))))
        print(f"{name}: written", file=sys.stderr)
    return paths


def fuzz(name: str, source: Path, count: int, chance: random.Random, run: bool) -> Counter:
    from support.damage import KINDS, broken_copy

    counts: Counter = Counter()
    watched = Watched(source, run)
    for _ in range(count):
        # Half of the places lie near an end, where headers and directories are.
        place = chance.choice([chance.random(), chance.choice([0.0, 0.97]) + 0.03 * chance.random()])
        case = (chance.randrange(1000), chance.choice(KINDS), place, chance.randrange(256))
        with tempfile.TemporaryDirectory() as folder:
            path = broken_copy(source, Path(folder), *case)
            before = sorted(Path(folder).rglob("*"))
            answer, text = watched.read(path)
            counts[answer] += 1
            counts["left"] += sorted(Path(folder).rglob("*")) != before
        if answer not in ("network", "error"):
            print(f"{name} {case}: {answer}: {text}", file=sys.stderr, flush=True)
    counts["peak"] = watched.peak >> 20
    watched.stop("end")
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="mutations per format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default="", help="separated by commas, integers as tflite:w8a8; all if not given")
    parser.add_argument("--run", action="store_true", help="run the files instead of reading their weights")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.run)
        return 0
    total: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        paths = artifacts(Path(folder), [name for name in options.formats.split(",") if name])
        print(f"{'format':<16} {'files':>6} " + " ".join(f"{c:>10}" for c in COLUMNS) + "    peak MB")
        for name, path in paths.items():
            chance = random.Random(f"{options.seed} {name}")  # noqa: S311
            counts = fuzz(name, path, options.count, chance, options.run)
            total.update({column: counts[column] for column in COLUMNS})
            row = " ".join(f"{counts[column]:>10}" for column in COLUMNS)
            print(f"{name:<16} {options.count:>6} {row} {counts['peak']:>10}", flush=True)
    print(f"{'all':<16} {options.count * len(paths):>6} " + " ".join(f"{total[c]:>10}" for c in COLUMNS))
    return int(any(total[column] for column in COLUMNS[2:]))


if __name__ == "__main__":
    sys.exit(main())
