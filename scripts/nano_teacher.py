"""u2netp as the teacher of `train_nano.py`: what it labels, what it cuts out, and what is measured against it."""

from collections.abc import Callable
from pathlib import Path

import cv2
import nano_prune as prune
import numpy as np
import torch
from nano_compose import Composer, CutOut
from nano_pictures import load, normalise, paper_input, shrink, split
from torch import Tensor

from u2net_zoo.arch import U2NET_NANO
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import U2Net, build
from u2net_zoo.train.norms import balance, calibrate

__all__ = ["Teacher", "mask"]

FIT_SIZE = 224


class Teacher:
    """u2netp, the photographs it labels, and its masks of those to measure on."""

    def __init__(self, weights: Path):
        learn, aside, shown = split()
        self.photographs = [shrink(load(path)) for path in learn]
        self.shown = [shrink(load(path)) for path in shown]
        self.checkpoint = read_checkpoint(weights)
        self.model = build(self.checkpoint.fold()).to(memory_format=torch.channels_last)
        self.measured = [(path.name, paper_input(load(path))) for path in aside + shown]
        self.truth = [mask(self.model, x) for _, x in self.measured]
        self.cutouts = [cut for image in self.photographs if (cut := self.cut(image))]

    def cut(self, image: np.ndarray) -> CutOut | None:
        with torch.no_grad():
            d0 = self.model(paper_input(image)[None])[0][0, 0].numpy()
        return CutOut.of(image, cv2.resize(d0, image.shape[1::-1]))

    def agreement(self, model: U2Net) -> tuple[list[float], list[float]]:
        """IoU at 0.5 and mean absolute error per measured photograph; the last three are scikit-image's."""
        masks = [mask(model.eval(), x) for _, x in self.measured]
        pairs = list(zip(masks, self.truth, strict=True))
        return [iou(m, t) for m, t in pairs], [float(abs(m - t).mean()) for m, t in pairs]

    def pruned(self, seed: int) -> tuple[Callable[[], U2Net], dict[str, list[int]]]:
        """What fits the pruned network, and the channels that it keeps."""
        composer = Composer(self.photographs, self.cutouts, FIT_SIZE, seed)
        drawn = normalise(torch.from_numpy(np.stack([composer() for _ in self.photographs])))
        images = torch.cat([torch.stack([paper_input(image, FIT_SIZE) for image in self.photographs]), drawn])
        kept = prune.channel_sets(self.checkpoint, U2NET_NANO, images)

        def fit() -> U2Net:
            fitted = build(prune.fit(self.checkpoint, U2NET_NANO, images, kept).unfold())
            calibrate(fitted, images.split(20))
            balance(fitted)
            return fitted

        return fit, kept


@torch.no_grad()
def mask(model: U2Net, x: Tensor) -> np.ndarray:
    """Min-max normalised d0 of one picture (3, 320, 320): (320, 320)."""
    d0 = model(x[None])[0][0, 0].numpy()
    return (d0 - d0.min()) / (d0.max() - d0.min() + 1e-8)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union at 0.5; 1 where both are empty."""
    a, b = a > 0.5, b > 0.5
    return float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0
