"""Run by test_train_keras.py in a process of its own, for a backend: a Keras run, and one that goes on from its middle.

python keras_training.py DATA OUT     leaves OUT/whole and OUT/again with weights and snapshots
"""

import os
import shutil
import sys
from pathlib import Path

from conftest import hard_checkpoint
from training import SHALLOW, SIDE

from u2net_zoo.train import keras_loop, pairs
from u2net_zoo.train.recipe import Recipe

RECIPE = Recipe(
    steps=4, batch=4, size=SIDE, crop=SIDE, augment="none", seed=1, schedule="cosine", warmup=1, clip=1.0, ema=0.9
)


def main(data: Path, out: Path) -> None:
    found = pairs.find(data / "images", data / "masks")
    keras_loop.fit(RECIPE, out / "whole", hard_checkpoint(SHALLOW), found, [])
    (out / "again").mkdir()
    snapshot = shutil.copy(out / "whole" / "step-0000002.safetensors", out / "again")
    keras_loop.fit(RECIPE, out / "again", hard_checkpoint(SHALLOW), found, [], resume=snapshot)


if __name__ == "__main__":
    if os.environ["KERAS_BACKEND"] == "tensorflow":  # tracing `fit` takes longer than these steps
        import tensorflow

        tensorflow.config.run_functions_eagerly(True)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
