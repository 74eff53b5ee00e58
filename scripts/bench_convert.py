"""Conversion with proof against the bare exporter calls: time and peak memory of a full-size U²-Net.

    python scripts/bench_convert.py [--source u2net.pth] [--rounds 3] [--json]

Ours and the bare calls alternate, each in a process of its own; medians are reported. Without --source the weights are
generated (see `hard_state`), since the time does not depend on their values.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FORMATS = ("onnx", "h5", "savedmodel", "tflite", "coreml")
SIDE = 320


def hard_state(arch):
    """He-scaled kernels and live batch norm: activations stay alive through the whole network."""
    import numpy as np

    rng = np.random.default_rng(0)
    state = {}
    for key, shape in arch.state_shapes().items():
        if key.endswith("weight") and len(shape) == 4:
            value = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        elif key.endswith(("running_var", "bn_s1.weight")):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        state[key] = value.astype(np.float32)
    return state


def ours(source: str, out: str) -> None:
    from converters import convert

    convert(source, FORMATS, out)


def bare(source: str, out: str) -> None:
    """What people write by hand: the exporters' own calls, nothing checked."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import coremltools as ct
    import tensorflow as tf
    import torch

    from u2net_zoo import load_keras, load_torch

    model = load_torch(source, outputs="mask", fold=True)
    sample = torch.zeros(1, 3, SIDE, SIDE)
    torch.onnx.export(model, (sample,), f"{out}/m.onnx", dynamo=False, opset_version=17)
    traced = torch.jit.trace(model, sample)
    package = ct.convert(traced, inputs=[ct.TensorType(shape=sample.shape)], compute_precision=ct.precision.FLOAT32,
                         minimum_deployment_target=ct.target.iOS15, skip_model_load=True)  # fmt: skip
    package.save(f"{out}/m.mlpackage")
    keras_model = load_keras(source, size=(SIDE, SIDE), outputs="mask", module="tf_keras")
    keras_model.save(f"{out}/m.h5", save_format="h5")
    tf.saved_model.save(keras_model, f"{out}/m_savedmodel")
    converter = tf.lite.TFLiteConverter.from_saved_model(f"{out}/m_savedmodel")
    Path(f"{out}/m.tflite").write_bytes(converter.convert())


def measure(kind: str, source: str) -> dict[str, float]:
    """Seconds and peak resident gigabytes of one run in a fresh process."""
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        command = [sys.executable, __file__, "--child", kind, "--source", source, "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
        seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{kind} failed: {done.stderr.strip().splitlines()[-1]}")
    return {"seconds": seconds, "peak_gb": float(done.stdout.strip().splitlines()[-1])}


def child(kind: str, source: str, out: str) -> None:
    from u2net_zoo.system import peak_memory

    {"ours": ours, "bare": bare}[kind](source, out)
    print(peak_memory() / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=["ours", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.source, arguments.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source or generate(Path(folder))
        runs: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
        for _ in range(arguments.rounds):
            for kind, found in runs.items():
                found.append(measure(kind, source))
                print(f"{kind}: {found[-1]['seconds']:.1f} s, {found[-1]['peak_gb']:.2f} GB", file=sys.stderr)
    medians = {
        kind: {key: statistics.median(r[key] for r in found) for key in found[0]} for kind, found in runs.items()
    }
    report = {**medians, "ratio": medians["ours"]["seconds"] / medians["bare"]["seconds"], "rounds": arguments.rounds}
    report["help_seconds"] = help_seconds()
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print("| | seconds | peak GB |\n|---|---|---|")
        for kind in runs:
            print(f"| {kind} | {medians[kind]['seconds']:.1f} | {medians[kind]['peak_gb']:.2f} |")
        print(
            f"\nours / bare: {report['ratio']:.2f} over {arguments.rounds} alternating rounds (aim: at most 1.5, 3 GB)"
        )
        print(f"u2zoo --help: {report['help_seconds']:.2f} s (aim: under 0.4)")


def help_seconds() -> float:
    """Median of five runs of `u2zoo --help`, after one that fills the caches."""
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "u2net_zoo", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def generate(folder: Path) -> str:
    from safetensors.numpy import save_file

    from u2net_zoo.arch import U2NET

    path = folder / "u2net.safetensors"
    save_file(hard_state(U2NET), path)
    return str(path)


if __name__ == "__main__":
    main()
