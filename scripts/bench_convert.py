"""Conversion with proof against the bare exporter calls: time and peak memory of whole processes.

    python scripts/bench_convert.py [--to onnx] [--source u2netp] [--rounds 3] [--json]

    python scripts/bench_convert.py --to onnx --source u2netp     # each of these is one goal
    python scripts/bench_convert.py --to onnx
    python scripts/bench_convert.py                               # all five formats of full-size u2net

Ours is `u2zoo convert` with an empty cache (`cold`) and again with what that left (`warm`); it and the bare calls
alternate, each in a process of its own. Medians are reported, and ratios to the bare calls of the same round. --source
is a weight file, or an architecture whose weights are generated (see `hard_state`), since the time does not depend on
their values: u2net, u2netp. Exit code 1 where a goal is missed.
"""

import argparse
import atexit
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FORMATS = ("onnx", "h5", "savedmodel", "tflite", "coreml")
KINDS = ("bare", "cold", "warm")
SIDE = 320
# Of the bare calls' time and peak memory, without records of earlier conversions; the limit of a warm run is the same.
MEMORY = 1.2
ONE, ALL = 1.5, 1.1  # a single format; all of `FORMATS`, whose exporters take most of the time


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


def bare(source: str, out: str, formats: list[str]) -> None:
    """What people write by hand: the exporters' own calls, nothing checked."""
    if {"onnx", "coreml"} & set(formats):
        bare_torch(source, out, formats)
    if {"h5", "savedmodel", "tflite"} & set(formats):
        bare_tensorflow(source, out, formats)


def bare_torch(source: str, out: str, formats: list[str]) -> None:
    import torch

    from u2net_zoo import load_torch

    model = load_torch(source, outputs="mask", fold=True)
    sample = torch.zeros(1, 3, SIDE, SIDE)
    if "onnx" in formats:
        torch.onnx.export(model, (sample,), f"{out}/m.onnx", dynamo=False, opset_version=17)
    if "coreml" in formats:
        import coremltools as ct

        traced = torch.jit.trace(model, sample)
        package = ct.convert(traced, inputs=[ct.TensorType(shape=sample.shape)],
                             compute_precision=ct.precision.FLOAT32, minimum_deployment_target=ct.target.iOS15,
                             skip_model_load=True)  # fmt: skip
        package.save(f"{out}/m.mlpackage")


def bare_tensorflow(source: str, out: str, formats: list[str]) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    from u2net_zoo import load_keras

    model = load_keras(source, size=(SIDE, SIDE), outputs="mask", module="tf_keras")
    if "h5" in formats:
        model.save(f"{out}/m.h5", save_format="h5")
    if {"savedmodel", "tflite"} & set(formats):
        tf.saved_model.save(model, f"{out}/m_savedmodel")
    if "tflite" in formats:
        converter = tf.lite.TFLiteConverter.from_saved_model(f"{out}/m_savedmodel")
        Path(f"{out}/m.tflite").write_bytes(converter.convert())


def measure(kind: str, source: str, formats: list[str], home: str) -> dict[str, float]:
    """Seconds and peak resident gigabytes of one run in a fresh process, whose cache is `home`."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, __file__, "--child", kind, "--source", source, "--to", ",".join(formats)]
        environment = os.environ | {"U2ZOO_HOME": home}
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--out", out], capture_output=True, text=True, encoding="utf-8", errors="replace",
            env=environment,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{kind} failed: {done.stderr.strip().splitlines()[-1]}")
        if not any(Path(out).iterdir()):
            raise SystemExit(f"{kind} failed: nothing was written")
    return {"seconds": seconds, "peak_gb": float(done.stdout.strip().splitlines()[-1])}


def child(kind: str, source: str, formats: list[str], out: str) -> None:
    """One run, in this process, which it ends; prints its peak memory."""
    from u2net_zoo.system import peak_memory

    atexit.register(lambda: print(peak_memory() / 1e9))
    if kind == "bare":
        bare(source, out, formats)
    else:
        from u2net_zoo.cli import main as command

        sys.argv = ["u2zoo", "convert", source, "--to", ",".join(formats), "--size", str(SIDE), "-o", out]
        command()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="u2net")
    parser.add_argument("--to", default=",".join(FORMATS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    formats = arguments.to.split(",")
    if unknown := set(formats) - set(FORMATS):
        parser.error(f"--to {', '.join(sorted(unknown))}: the bare calls are known of {', '.join(FORMATS)}")
    if arguments.child:
        child(arguments.child, arguments.source, formats, arguments.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source if Path(arguments.source).exists() else generate(arguments.source, Path(folder))
        runs = alternate(source, formats, arguments.rounds)
    report = summary(runs, formats) | {"help_seconds": help_seconds()}
    print(json.dumps(report, indent=2) if arguments.json else table(report))
    sys.exit(0 if report["ok"] else 1)


def alternate(source: str, formats: list[str], rounds: int) -> dict[str, list[dict[str, float]]]:
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            for kind, found in runs.items():
                found.append(measure(kind, source, formats, home))
                print(f"{kind}: {found[-1]['seconds']:.1f} s, {found[-1]['peak_gb']:.2f} GB", file=sys.stderr)
    return runs


def summary(runs: dict[str, list[dict[str, float]]], formats: list[str]) -> dict[str, Any]:
    """Medians of each kind, and of the ratios to the bare calls of the same round; whether the goals are met."""
    medians = {
        kind: {key: statistics.median(r[key] for r in found) for key in found[0]} for kind, found in runs.items()
    }
    for kind in KINDS[1:]:
        for key, name in (("seconds", "ratio"), ("peak_gb", "peak_ratio")):
            pairs = zip(runs[kind], runs["bare"], strict=True)
            medians[kind][name] = statistics.median(ours[key] / max(theirs[key], 1e-9) for ours, theirs in pairs)
    goals = {"ratio": ALL if len(formats) > 1 else ONE, "peak_ratio": MEMORY}
    ok = all(medians["cold"][name] <= goal for name, goal in goals.items())
    return {**medians, "formats": formats, "rounds": len(runs["bare"]), "goals": goals, "ok": ok}


def table(report: dict[str, Any]) -> str:
    goals = report["goals"]
    lines = ["| | seconds | / bare | peak GB | / bare |", "|---|---|---|---|---|"]
    for kind in KINDS:
        found = {"ratio": 1.0, "peak_ratio": 1.0} | report[kind]
        lines.append(
            f"| {kind} | {found['seconds']:.1f} | {found['ratio']:.2f} | {found['peak_gb']:.2f} |"
            f" {found['peak_ratio']:.2f} |"
        )
    met = "met" if report["ok"] else "MISSED"
    lines += [
        f"\n{','.join(report['formats'])}: goals {met}: cold at most {goals['ratio']} times the bare calls' time and"
        f" {goals['peak_ratio']} times their memory; {report['rounds']} alternating rounds",
        f"u2zoo --help: {report['help_seconds']:.2f} s (aim: under 0.4)",
    ]
    return "\n".join(lines)


def help_seconds() -> float:
    """Median of five runs of `u2zoo --help`, after one that fills the caches."""
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "u2net_zoo", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def generate(name: str, folder: Path) -> str:
    """A file of generated weights of the architecture `name`."""
    from safetensors.numpy import save_file

    from u2net_zoo.arch import U2NET, U2NETP

    known = {arch.name: arch for arch in (U2NET, U2NETP)}
    if name not in known:
        raise SystemExit(f"--source {name}: no such file, and none of {', '.join(known)}")
    path = folder / f"{name}.safetensors"
    save_file(hard_state(known[name]), path)
    return str(path)


if __name__ == "__main__":
    main()
