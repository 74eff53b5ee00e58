"""A Keras run, and one that goes on from its middle; a process of its own gives them another backend.

python keras_training.py DATA OUT     leaves OUT/whole and OUT/again with weights and snapshots
"""

import shutil
import sys
from pathlib import Path

from support.networks import hard_checkpoint
from support.training import SHALLOW, SIDE

from u2net_zoo.train import keras_loop, pairs
from u2net_zoo.train.recipe import Recipe

RECIPE = Recipe(
    steps=4, batch=4, size=SIDE, crop=SIDE, augment="none", seed=1, schedule="cosine", warmup=1, clip=1.0, ema=0.9
)


def run_twice(data: Path, out: Path) -> None:
    found = pairs.find(data / "images", data / "masks")
    keras_loop.fit(RECIPE, out / "whole", hard_checkpoint(SHALLOW), found, [])
    (out / "again").mkdir(parents=True)
    snapshot = shutil.copy(out / "whole" / "step-0000002.safetensors", out / "again")
    keras_loop.fit(RECIPE, out / "again", hard_checkpoint(SHALLOW), found, [], resume=snapshot)


if __name__ == "__main__":
    run_twice(Path(sys.argv[1]), Path(sys.argv[2]))
