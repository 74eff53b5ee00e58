"""The evaluators of ML Programs and of Core AI: time against Torch's own forward, and peak memory.

    python scripts/bench_mil.py [--source u2netp.pth | --arch u2netp] [--size 320] [--precision fp32] [--rounds 5]
        [--format coreai]

Torch and the evaluator alternate in one process, the fastest round of each counts. Memory is the peak of a process that
does nothing but open the package and evaluate it once. Without --source the weights are generated: neither depends on
their values.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def image(side: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)


def generated(arch_name: str) -> Any:
    """A checkpoint of that architecture whose activations stay alive."""
    from bench_convert import hard_state

    from u2net_zoo.arch import KNOWN
    from u2net_zoo.checkpoint import Checkpoint

    arch = next(known for known in KNOWN if known.name == arch_name)
    return Checkpoint.from_state(hard_state(arch), arch=arch)


def write(checkpoint: Any, side: int, precision: str, path: str) -> Any:
    """Writes a package that takes the tensor, as Torch does; returns the Torch model that it came from."""
    from converters import FORMATS, Options
    from u2net_zoo import load_torch

    fmt = next(FORMATS[name] for name in ("coreml", "coreai") if FORMATS[name].suffix == Path(path).suffix)
    fmt.write(checkpoint, Path(path), fmt.settle(Options(size=(side, side), precision=precision, io="tensor")))
    return load_torch(checkpoint, outputs="mask", fold=True)


def opened(path: str) -> Callable[[dict[str, np.ndarray]], Any]:
    """The file, evaluated with its constants decoded at each call."""
    if path.endswith(".aimodel"):
        from converters.coreai import Asset
        from converters.coreai.interpreter import Interpreter

        asset = Asset.open(path)
        return lambda inputs: Interpreter(asset).evaluate(inputs)
    from converters.mil import Package, evaluate

    package = Package.open(path)
    return lambda inputs: evaluate(package, inputs)


def peak(path: str, side: int) -> None:
    """Opens and evaluates, and prints the peak resident gigabytes."""
    from u2net_zoo.system import peak_memory

    opened(path)({"image": image(side)})
    print(peak_memory() / 1e9)


def fastest(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest of `rounds`, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: min(values[1:]) for name, values in times.items()}


def compare(model: Any, path: str, side: int, rounds: int) -> dict[str, float]:
    import torch

    evaluate, x = opened(path), image(side)
    tensor = torch.from_numpy(x)
    with torch.inference_mode():
        return fastest({"torch": lambda: model(tensor), "evaluator": lambda: evaluate({"image": x})}, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="weights of any kind; generated ones if not given")
    parser.add_argument("--arch", default="u2netp", help="of generated weights")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16"))
    parser.add_argument("--format", default="coreml", choices=("coreml", "coreai"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        peak(args.child, args.size)
        return
    from converters.loading import read_source
    from u2net_zoo.sources import locate

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/network.{'aimodel' if args.format == 'coreai' else 'mlpackage'}"
        checkpoint = read_source(locate(args.source).path) if args.source else generated(args.arch)
        model = write(checkpoint, args.size, args.precision, path)
        command = [sys.executable, __file__, "--child", path, "--size", str(args.size)]
        memory = float(subprocess.run(command, capture_output=True, check=True).stdout)
        seconds = compare(model, path, args.size, args.rounds)
    print(f"{checkpoint.arch.name} {args.precision} at {args.size}: Torch {seconds['torch']:.3f} s, "
          f"evaluator {seconds['evaluator']:.3f} s ({seconds['evaluator'] / seconds['torch']:.2f}x), "
          f"peak of the evaluator {memory:.2f} GB")  # fmt: skip


if __name__ == "__main__":
    main()
