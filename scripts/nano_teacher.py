"""u2netp as the teacher of `train_nano.py`: what it labels, what it cuts out, and what is measured against it."""

from pathlib import Path

import cv2
import nano_prune as prune
import numpy as np
import torch
from nano_compose import Composer, CutOut, Stock
from nano_packages import Packages
from nano_pictures import load, normalise, paper_input, shrink, split
from torch import Tensor

from u2net_zoo.arch import U2NET_NANO
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import U2Net, build

__all__ = ["Teacher", "iou", "mask"]

FIT_SIZE = 224
FIT_MIX = {"photograph": 0.45, "paste": 0.35, "shapes": 0.2}
OFTEN = ("rocket", "chelsea") * 8  # a thin thing among others, and one that fills the picture: there are few of either
REPEATS = 2  # how often a photograph of ours stands beside one of the packages' scenes


class Teacher:
    """u2netp, the photographs it labels, and the development set."""

    def __init__(self, weights: Path, packages: Packages):
        parts = split()
        self.checkpoint = read_checkpoint(weights)
        self.model = build(self.checkpoint.fold()).to(memory_format=torch.channels_last)
        self.photographs = [shrink(load(path)) for path in parts["learn"]]
        scenes = {part: [shrink(load(path)) for path in paths] for part, paths in packages.scenes().items()}
        learnt_from = ("learn", "development")  # nothing here opens the test's
        backgrounds = {part: [shrink(load(path)) for path in packages.backgrounds()[part]] for part in learnt_from}
        true = {part: [CutOut.read(path) for path in packages.cut_outs()[part]] for part in learnt_from}
        cut = [cut for image in self.photographs + scenes["learn"] if (cut := self.cut(image))]
        often = [shrink(load(path)) for name in OFTEN for path in parts["learn"] if path.stem == name]
        drawn_from = self.photographs * REPEATS + often + scenes["learn"]
        self.stock = Stock(drawn_from, backgrounds["learn"], cut, true["learn"])
        self.development = Stock([], backgrounds["development"], [], true["development"])
        watched = [load(path) for path in parts["development"]] + scenes["development"]
        self.measured = [paper_input(image) for image in watched]
        self.truth = [mask(self.model, x) for x in self.measured]

    def cut(self, image: np.ndarray) -> CutOut | None:
        with torch.no_grad():
            d0 = self.model(paper_input(image)[None])[0][0, 0].numpy()
        return CutOut.of(image, cv2.resize(d0, image.shape[1::-1]))

    def agreement(self, model: U2Net) -> tuple[list[float], float]:
        """On the development set, `split`'s photographs first: IoU at 0.5 of each, and the mean absolute difference."""
        pairs = [(mask(model.eval(), x), truth) for x, truth in zip(self.measured, self.truth, strict=True)]
        return [iou(*pair) for pair in pairs], float(np.mean([abs(made - truth).mean() for made, truth in pairs]))

    def pruned(self, seed: int) -> U2Net:
        """The network with those of u2netp's channels that tell most, and kernels that fit them."""
        composer = Composer(self.stock, FIT_SIZE, seed, FIT_MIX)
        drawn = normalise(torch.from_numpy(np.stack([composer()[0] for _ in self.photographs])))
        images = torch.cat([torch.stack([paper_input(image, FIT_SIZE) for image in self.photographs]), drawn])
        kept = prune.channel_sets(self.checkpoint, U2NET_NANO, images)
        return build(prune.fit(self.checkpoint, U2NET_NANO, images, kept).unfold())


@torch.no_grad()
def mask(model: U2Net, x: Tensor) -> np.ndarray:
    """Min-max normalised d0 of one picture (3, 320, 320): (320, 320)."""
    d0 = model(x[None])[0][0, 0].numpy()
    return (d0 - d0.min()) / (d0.max() - d0.min() + 1e-8)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union at 0.5; 1 where both are empty."""
    a, b = a > 0.5, b > 0.5
    return float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0
