"""What the tests of training share: eight small photographs, small networks, and one way to make a run."""

import contextlib
from pathlib import Path

import pytest
from PIL import Image

from u2net_zoo.arch import two_level
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.train import pairs
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh

STAGES = [(k, 2, 4) for k in ("7", "6", "5", "4", "4F", "4F")], [(k, 2, 4) for k in ("4F", "4", "5", "6", "7")]
TINY = two_level("tiny", *STAGES)
# Three stages: at this size the deeper ones have nothing left to see.
OVERFIT = two_level("overfit", [("4", 8, 16), ("4F", 8, 16), ("4F", 8, 16)], [("4F", 8, 16), ("4", 8, 16)])
# Three stages again: TensorFlow takes long to trace the whole network for `fit`.
SHALLOW = two_level("shallow", [("4", 4, 8), ("4F", 4, 8), ("4F", 4, 8)], [("4F", 4, 8), ("4", 4, 8)])
SIDE = 64
EIGHT = {  # photographs whose masks the coarsest side output, too, can follow at this size
    "sod": ("im_27", "sailboat3"),
    "human": (
        "480112-637286191695715805-16x9",
        "julia+trotti_17",
        "download",
        "19035828_web1__12294096_web1_180615-PNR-newmayorchallenge",
        "images (1)",
        "images",
    ),
}


class Losses:
    """A watcher that keeps every loss."""

    def __init__(self):
        self.values, self.skips = [], []

    def run(self, total, done):
        return contextlib.nullcontext()

    def step(self, step, loss):
        self.values.append(loss)

    def validated(self, step, loss, better):
        pass

    def skipped(self, name, reason, times):
        self.skips.append((name, times))


@pytest.fixture(scope="session")
def eight(tmp_path_factory) -> Path:
    """Eight real photographs and their published masks, cut to black and white, small."""
    from conftest import DATA, needs

    folder = tmp_path_factory.mktemp("eight")
    for part, names in EIGHT.items():
        photographs = pairs.listing(needs(DATA / part / "images"))
        masks = pairs.listing(needs(DATA / part / ("u2net" if part == "sod" else "u2net_human_seg")))
        for name in names:
            _save(Image.open(photographs[name]).convert("RGB"), folder / "images" / f"{name}.png")
            mask = Image.open(masks[name]).convert("L").point(lambda v: 255 * (v > 127))
            _save(mask, folder / "masks" / f"{name}.png")
    return folder


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    picture.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(path)


def trainer(eight: Path, out: Path, start: Checkpoint | None = None, watcher=None, save_every=500, **recipe):
    """A Torch run on the eight photographs, two of which validate it."""
    from u2net_zoo.train.torch_loop import Trainer

    values = {"batch": 4, "size": SIDE, "crop": SIDE, "augment": "none", "seed": 1, **recipe}
    setting = Setting(out, accelerator="cpu", logs=False, save_every=save_every, watcher=watcher or Losses())
    found = pairs.find(eight / "images", eight / "masks")
    return Trainer(Recipe(**values), setting, start or fresh(TINY, 0), found, found[:2])


def first_batch(run):
    return next(run._batches(run.train_samples, 0, 0))
