"""What the tests of classes share: eight small pictures with maps of four classes, and a network that knows them."""

import numpy as np
import pytest
from PIL import Image
from support.training import SHALLOW, SIDE

from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.run import Request, train
from u2net_zoo.train.setting import Setting
from u2net_zoo.train.start import fresh, with_channels

NAMES = ("background", "upper", "lower", "full")
CLASSES = {"classes": ",".join(NAMES)}
SMALL = Recipe(size=SIDE, crop=SIDE, batch=8, augment="none", rate=2e-2, steps=40, **CLASSES)


@pytest.fixture(scope="session")
def street(store):
    """Eight pictures of three discs on noise, and index maps of them."""

    def make(folder):
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        for name in ("images", "maps"):
            (folder / name).mkdir()
        for n in range(8):
            picture, labels = rng.integers(0, 60, (SIDE, SIDE, 3)), np.zeros((SIDE, SIDE), np.uint8)
            for index in (1, 2, 3):
                y, x = rng.integers(12, SIDE - 12, 2)
                disc = (rows - y) ** 2 + (columns - x) ** 2 < 100
                labels[disc] = index
                picture[disc] = np.eye(3)[index - 1] * 255
            Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / f"{n}.png")
            Image.fromarray(labels).save(folder / "maps" / f"{n}.png")
        return folder

    return store.once("eight pictures with maps of classes", make)


@pytest.fixture(scope="session")
def taught_classes(street, store):
    """The weights of a network that has learned the eight by heart."""

    def make(folder):
        request = Request(street / "images", street / "maps", start=fresh(with_channels(SHALLOW, 4), 0))
        train(request, SMALL, Setting(folder, accelerator="cpu", logs=False))
        return folder / "model.safetensors"

    return store.once("eight pictures of classes learned by heart", make)
