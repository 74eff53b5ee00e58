"""`u2zoo mask` against `rembg p`, and a run over very many photographs.

    python scripts/bench_apps.py --rembg ~/rembg-venv/bin/rembg --model u2netp.onnx --images photographs
    python scripts/bench_apps.py --rembg … --model u2netp.onnx --ours u2netp.pth --images photographs
    python scripts/bench_apps.py --model u2netp.onnx --many 10000

The first: both commands over the same folder, in alternation, with the same ONNX file and the `rembg` profile: whole
processes, start-up included; then one photograph; then how far the masks are apart. The second gives ours the weights,
which run in the engine that was fastest here; it is chosen in the first run, which does not count. rembg lives in an
environment of its own (pip install "rembg[cpu,cli]==2.0.86"), with the same onnxruntime and Pillow as here, or the
masks differ by what these differ by.

The third: peak memory of the command and all its processes over 100 and over N small photographs; then kill -9 in the
middle, `--resume`, and a look at every file. Needs psutil.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

U2ZOO = [sys.executable, "-m", "u2net_zoo", "mask"]
FEW = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="an ONNX file; rembg takes no other")
    parser.add_argument("--images", type=Path, help="folder of photographs")
    parser.add_argument("--rembg", type=Path, help="rembg's command")
    parser.add_argument("--ours", help="what u2zoo runs: the weights of that file, say, for which an engine is chosen")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, help="how many small photographs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="u2zoo-bench-") as folder:
        if arguments.rembg:
            ours = arguments.ours or str(arguments.model.resolve())
            against_rembg(
                arguments.rembg, arguments.model.resolve(), ours, arguments.images, arguments.rounds, Path(folder)
            )
        if arguments.many:
            memory(arguments.model.resolve(), arguments.many, Path(folder))
            killed(arguments.model.resolve(), arguments.many, Path(folder))


def against_rembg(rembg: Path, model: Path, source: str, images: Path, rounds: int, folder: Path) -> None:
    home = folder / "rembg"  # rembg takes models from its own folder only
    home.mkdir()
    own = str(shutil.copy(model, home))
    theirs = ["env", f"U2NET_HOME={home}", str(rembg)]
    which = ["-m", "u2net_custom", "-x", json.dumps({"model_path": own}), "-om"]
    ours = ["--model", source, "--profile", "rembg"]
    photograph = sorted(images.iterdir())[0]
    count = len(list(images.iterdir()))
    folders = {
        "rembg": lambda out: [*theirs, "p", *which, str(images), str(out)],
        "u2zoo": lambda out: [*U2ZOO, str(images), "-o", str(out), *ours],
    }
    single = {
        "rembg": lambda out: [*theirs, "i", *which, str(photograph), f"{out}.png"],
        "u2zoo": lambda out: [*U2ZOO, str(photograph), "-o", f"{out}.png", *ours],
    }
    compare(f"{count} photographs", folders, rounds, folder, count)
    agreement(folder / "rembg-0", folder / "u2zoo-0")
    compare(f"one photograph ({photograph.name})", single, rounds, folder, 1)


def compare(title: str, commands: dict, rounds: int, folder: Path, count: int) -> None:
    """Times every command in turn, `rounds` times after a first that does not count; prints medians."""
    wall, used = ({name: [] for name in commands} for _ in range(2))
    for turn in range(rounds + 1):
        for name, command in commands.items():
            out = folder / f"{name}-{turn}"
            shutil.rmtree(out, ignore_errors=True)
            seconds, processor = timed(command(out))
            if turn:
                wall[name].append(seconds)
                used[name].append(processor)
    middle = {name: statistics.median(values) for name, values in wall.items()}
    for name, values in wall.items():
        every = " ".join(f"{value:.2f}" for value in values)
        processor = statistics.median(used[name])
        rate = f"{count / middle[name]:.2f}/s"
        print(f"{title}: {name:6} {middle[name]:6.2f} s  {rate}  processor {processor:.2f} s  ({every})", flush=True)
    print(f"{title}: {middle['rembg'] / middle['u2zoo']:.2f}x the throughput of rembg", flush=True)


def timed(command: list[str]) -> tuple[float, float]:
    """(wall clock, processor time of all its processes) in seconds; Windows does not tell the second."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    used = (after.children_user - before.children_user, after.children_system - before.children_system)
    return wall, sum(used)


def agreement(theirs: Path, ours: Path) -> None:
    masks = sorted(theirs.glob("*.png"))
    apart = [np.abs(np.asarray(Image.open(m), int) - np.asarray(Image.open(ours / m.name), int)) for m in masks]
    equal = sum(not difference.any() for difference in apart)
    worst = max(difference.max() for difference in apart)
    within = np.mean(np.concatenate([(difference <= 1).ravel() for difference in apart]))
    print(f"masks: {equal} of {len(masks)} equal; at most {worst} grey levels apart; {within:.4%} within one")


def small_photographs(folder: Path, count: int) -> Path:
    """JPEGs of 64x64: pieces of a real photograph."""
    from skimage import data

    whole = Image.fromarray(data.astronaut())
    folder.mkdir()
    for index in range(count):
        x, y = index * 7 % 448, index * 11 % 448
        whole.crop((x, y, x + 64, y + 64)).save(folder / f"{index:06}.jpg")
    return folder


def memory(model: Path, count: int, folder: Path) -> None:
    peaks = []
    for number in (FEW, count):
        photographs = small_photographs(folder / f"in-{number}", number)
        start = time.perf_counter()
        peaks.append(peak_of([*U2ZOO, str(photographs), "-o", str(folder / f"out-{number}"), "--model", str(model)]))
        seconds = time.perf_counter() - start
        print(f"{number} photographs: peak {peaks[-1]:.0f} MiB, {number / seconds:.1f}/s", flush=True)
    print(f"peak of {count} is {peaks[1] / peaks[0]:.3f}x that of {FEW}")


def peak_of(command: list[str]) -> float:
    """The largest sum of resident memory over a command and its processes in MiB, seen ten times a second."""
    import psutil
    from resident import megabytes

    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, megabytes(process))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return peak


def killed(model: Path, count: int, folder: Path) -> None:
    """kill -9 at random moments until a run gets through, then every mask is compared with the undisturbed run's."""
    out, photographs, kills = folder / "out-killed", folder / f"in-{count}", 0
    whole = folder / f"out-{count}"
    command = [*U2ZOO, str(photographs), "-o", str(out), "--model", str(model), "--resume"]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if kills == 3:
            process.wait()
            break
        time.sleep(random.uniform(2, 2 + count / 200))  # noqa: S311 - any moment will do
        process.kill()
        process.wait()
        kills += 1
        print(f"killed: {len(list(out.glob('*.png')))} masks there", flush=True)
    same = sum((out / path.name).read_bytes() == path.read_bytes() for path in whole.glob("*.png"))
    left = len([path for path in out.rglob("*") if path.name.endswith(".partial")])
    print(
        f"after {kills} kills and --resume: {same} of {count} masks equal the undisturbed run's, {left} partial files"
    )


if __name__ == "__main__":
    main()
