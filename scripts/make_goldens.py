"""Writes parity_tests/goldens/: figures of float64 runs, sampled so that they fit into the repository.

    python scripts/make_goldens.py --authors FOLDER     u2netp and u2net, from the authors' own outputs in FOLDER
    python scripts/make_goldens.py                      IS-Net and the bundled network, by this project's float64

FOLDER holds `u2netp_hard.npz` and `u2net_hard.npz`: seeds of weights and inputs, and every output `d{j}_{i}` that was
kept of the authors' run. What was not kept (sides at 320x320) is filled in by this project and marked so.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "parity_tests")]

from support.data import NANO  # noqa: E402
from support.goldens import FLOAT32, noise_floor, sampled, whole  # noqa: E402
from support.networks import ARCHS, hard_checkpoint  # noqa: E402
from support.photographs import photograph  # noqa: E402

from converters.torch_predictor import TorchPredictor  # noqa: E402
from u2net_zoo.arch import ISNET  # noqa: E402
from u2net_zoo.checkpoint import Checkpoint  # noqa: E402
from u2net_zoo.preprocessing import PROFILES  # noqa: E402
from u2net_zoo.reading import read_checkpoint  # noqa: E402

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png")
ISNET_INPUTS = {(1, 3, 96, 128): 201, (2, 3, 65, 47): 202, (1, 3, 320, 320): 203}
ISNET_GAIN = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, help="folder of the authors' outputs")
    parser.add_argument("--out", type=Path, default=ROOT / "parity_tests" / "goldens")
    options = parser.parse_args()
    if options.authors:
        found = {name: authors(name, options.authors / f"{name}_hard.npz") for name in ("u2netp", "u2net")}
    else:
        found = {"isnet": isnet(), "u2net_nano": nano()}
    for name, figures in found.items():
        path = options.out / f"{name}.npz"
        np.savez_compressed(path, **figures)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def authors(name: str, source: Path) -> dict:
    file = np.load(source)
    checkpoint = hard_checkpoint(ARCHS[name], int(file["seed"]), float(file["gain"]))
    figures = {"seed": file["seed"], "gain": file["gain"]}
    for i in range(3):
        shape, seed = file[f"input{i}_shape"], file[f"input{i}_seed"]
        x = np.random.default_rng(int(seed)).standard_normal(tuple(shape)).astype(np.float32)
        ours = TorchPredictor(checkpoint, "float64")(x)
        theirs = {out: file[f"d{j}_{i}"] for j, out in enumerate(ARCHS[name].outputs) if f"d{j}_{i}" in file}
        for out, value in theirs.items():
            if np.abs(ours[out] - value).max() > FLOAT32:
                sys.exit(f"{source}: {out} of input {i} is not what this network answers")
        figures |= {f"input{i}_seed": seed, f"input{i}_shape": shape, f"noise{i}": file[f"noise_{i}"]}
        figures |= outputs(i, ours | theirs, theirs)
    return figures


def isnet() -> dict:
    checkpoint = hard_checkpoint(ISNET, 1, ISNET_GAIN)
    figures = {"seed": np.array(1), "gain": np.array(ISNET_GAIN)}
    for i, (shape, seed) in enumerate(ISNET_INPUTS.items()):
        x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        figures |= {f"input{i}_seed": np.array(seed), f"input{i}_shape": np.array(shape)} | run(i, checkpoint, x)
    return figures


def nano() -> dict:
    checkpoint = read_checkpoint(NANO)
    figures: dict = {}
    for i, name in enumerate(PHOTOGRAPHS):
        x = PROFILES["paper"].tensor(photograph(name), (320, 320))
        figures |= {f"input{i}_photograph": np.array(name), f"input{i}": sampled(x)} | run(i, checkpoint, x)
    return figures


def run(i: int, checkpoint: Checkpoint, x: np.ndarray) -> dict:
    """This project's figures of one input."""
    exact = TorchPredictor(checkpoint, "float64")(x)
    noise = noise_floor(checkpoint, x, exact)
    return {f"noise{i}": np.array([noise[name] for name in checkpoint.arch.outputs])} | outputs(i, exact, {})


def outputs(i: int, values: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict:
    figures = {}
    for name, value in values.items():
        by = "authors" if name in theirs else "project"
        figures |= {f"d{i}_{name}": sampled(value), f"whole{i}_{name}": whole(value), f"by{i}_{name}": np.array(by)}
    return figures


if __name__ == "__main__":
    main()
