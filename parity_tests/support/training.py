"""What the tests of training share: eight small photographs, small networks, and one way to make a run."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photographs import photograph

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
# Photographs of scikit-image in which the bundled network finds objects that the coarsest side output can follow, too.
EIGHT = ("astronaut.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
         "motorcycle_left.png", "retina.jpg")  # fmt: skip
SQUARE = 192
PUBLISHED = {  # the same with published masks
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
        self.values, self.skips, self.notes = [], [], []

    def run(self, total, done):
        return contextlib.nullcontext()

    def step(self, step, loss):
        self.values.append(loss)

    def validated(self, step, loss, better):
        pass

    def skipped(self, name, reason, times):
        self.skips.append((name, times))

    def noted(self, text):
        self.notes.append(text)


@pytest.fixture(scope="session")
def eight(store) -> Path:
    """Eight real photographs and the bundled network's masks of them, cut to black and white, small."""

    def make(folder: Path) -> Path:
        from u2net_zoo import Session

        session = Session("u2net_nano")
        for name in EIGHT:
            picture = photograph(name).resize((SQUARE, SQUARE))
            _save(folder, name.split(".")[0], picture, session.mask(picture))
        return folder

    return store.once("eight photographs with masks", make)


@pytest.fixture(scope="session")
def published_eight(tmp_path_factory) -> Path:
    """Eight others, whose masks are the authors' published ones."""
    from support.data import DATA, needs

    folder = tmp_path_factory.mktemp("published")
    for part, names in PUBLISHED.items():
        photographs = pairs.listing(needs(DATA / part / "images"))
        masks = pairs.listing(needs(DATA / part / ("u2net" if part == "sod" else "u2net_human_seg")))
        for name in names:
            _save(folder, name, Image.open(photographs[name]).convert("RGB"), Image.open(masks[name]))
    return folder


def _save(folder: Path, name: str, picture: Image.Image, mask: Image.Image) -> None:
    mask = mask.convert("L").point(lambda v: 255 * (v > 127))
    for part, image in (("images", picture), ("masks", mask)):
        (folder / part).mkdir(exist_ok=True)
        image.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(folder / part / f"{name}.png")


def trainer(eight: Path, out: Path, start: Checkpoint | None = None, watcher=None, save_every=500, **recipe):
    """A Torch run on the eight photographs, two of which validate it."""
    from u2net_zoo.train.torch_loop import Trainer

    values = {"batch": 4, "size": SIDE, "crop": SIDE, "augment": "none", "seed": 1, **recipe}
    setting = Setting(out, accelerator="cpu", logs=False, save_every=save_every, watcher=watcher or Losses())
    found = pairs.find(eight / "images", eight / "masks")
    return Trainer(Recipe(**values), setting, start or fresh(TINY, 0), found, found[:2])


def first_batch(run):
    return next(run._batches(run.train_samples, 0, 0))


# Until it has learned the eight by heart: at the full size, and a quarter of it for a short test.
BY_HEART = {"steps": 200, "batch": 8, "rate": 1e-2, "schedule": "cosine", "size": SIDE, "crop": SIDE}
QUICKLY = BY_HEART | {"steps": 60, "rate": 2e-2, "size": 32, "crop": 32}


@pytest.fixture(scope="session")
def taught(eight, store) -> tuple[list[float], Path]:
    """The Torch engine's losses over the short run, and the weights it left."""

    def make(folder: Path) -> tuple[list[float], Path]:
        seen = Losses()
        trainer(eight, folder, fresh(SHALLOW, 0), seen, **QUICKLY).fit()
        return seen.values, folder / "model.safetensors"

    return store.once("eight learned by heart in Torch", make)


def learned(weights: Path, data: Path, side: int) -> float:
    """Mean IoU at 0.5 of the masks that a network has been taught and those that it now gives, at `side`."""
    import torch

    from u2net_zoo.preprocessing import get_profile
    from u2net_zoo.reading import read_checkpoint
    from u2net_zoo.torch_model import build

    model, profile, ious = build(read_checkpoint(weights)), get_profile("paper"), []
    for pair in pairs.find(data / "images", data / "masks"):
        tensor = torch.from_numpy(profile.tensor(Image.open(pair.image), (side, side)))
        with torch.no_grad():
            given = model(tensor)[0][0, 0].numpy() > 0.5
        taught = np.asarray(Image.open(pair.mask).resize((side, side), Image.Resampling.NEAREST)) > 127
        ious.append((given & taught).sum() / (given | taught).sum())
    return float(np.mean(ious))
