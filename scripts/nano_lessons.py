"""What `train_nano.py` asks of the student: the teacher's outputs on photographs, the true alpha on composites."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from u2net_zoo import torch_model
from u2net_zoo.arch import RSU
from u2net_zoo.torch_model import U2Net

__all__ = ["BATCH", "Lesson"]

BATCH = 8
EDGE = 3.0  # how much more a pixel beside an outline counts, for d0 and d1
REACH = 7  # pixels across what is beside an outline
OVERLAP = 0.5  # weight of d0's soft intersection over union


class Walk(torch_model._TorchOps):
    """The network's walk with a quicker gradient; `sides` holds d2 and on at their own sizes."""

    def __init__(self, scope: torch.nn.Module):
        super().__init__(scope)
        self.sides: list[Tensor] = []

    def upsample(self, x: Tensor, like: Tensor) -> Tensor:
        if x.shape[1] > 1:
            return Twice.apply(x)
        self.sides.append(x)
        down, across = (_stretch(x.shape[axis], like.shape[axis]) for axis in (2, 3))
        return (down @ x.float() @ across.T).to(x.dtype)

    def block(self, block: RSU, x: Tensor) -> Tensor:
        return block.run(Walk(getattr(self.scope, block.path)), x)


class Twice(torch.autograd.Function):
    """Bilinear upsampling to twice the size, half-pixel; the gradient is a strided convolution with its weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyrefly: ignore
        taps = gradient.new_tensor([0.25, 0.75, 0.75, 0.25])
        kernel = torch.outer(taps, taps).expand(gradient.shape[1], 1, 4, 4)
        return F.conv2d(F.pad(gradient, (1, 1, 1, 1), "replicate"), kernel, stride=2, groups=gradient.shape[1])


class Lesson:
    """Binary cross-entropy over all outputs, each side at its own size; d0 and d1 weighed towards outlines.

    Args:
        teacher, student: folded, sizes of pictures are multiples of 32.
    """

    def __init__(self, teacher: U2Net, student: U2Net):
        self.teacher, self.student = teacher, student

    def answers(self, model: U2Net, x: Tensor) -> list[Tensor]:
        """Logits of d0, d1, …, (N, 1, H, W) each, d2 and on at their own sizes."""
        walk = Walk(model)
        with torch.autocast("cpu", torch.bfloat16):
            d0, d1, *_ = model.arch.run(walk, x.contiguous(memory_format=torch.channels_last))
        return [d0.float(), d1.float(), *(side.float() for side in walk.sides)]

    @torch.no_grad()
    def label(self, pictures: Tensor, alphas: list[np.ndarray | None]) -> list[Tensor]:
        """What each output should be, (N, 1, H, W) float16 each, and the weights of `outlines`.

        `pictures`: (N, 3, S, S), with the alphas of those whose label is known.
        """
        told = [i for i, alpha in enumerate(alphas) if alpha is None]
        known = [i for i, alpha in enumerate(alphas) if alpha is not None]
        by_teacher = [[a.sigmoid().half() for a in self.answers(self.teacher, pictures[pick])] for pick in chunks(told)]
        by_alpha = []
        for pick in chunks(known):
            alpha = torch.from_numpy(np.stack([alphas[i] for i in pick]))[:, None]  # pyrefly: ignore
            sides = [F.avg_pool2d(alpha, 2**n) for n in range(1, len(self.student.arch.sides))]
            by_alpha.append([a.half() for a in (alpha, alpha, *sides)])
        back = torch.tensor(told + known).argsort()
        labels = [torch.cat(rows)[back] for rows in zip(*by_teacher, *by_alpha, strict=True)]
        return [*labels, outlines(labels[0].float()).half()]

    def loss(self, x: Tensor, labels: list[Tensor]) -> Tensor:
        *wanted, weight = (label.float() for label in labels)
        answers = self.answers(self.student, x)
        p = answers[0].sigmoid()
        both = (p * wanted[0]).sum((1, 2, 3))
        loss = OVERLAP * (1 - (both + 1) / ((p + wanted[0]).sum((1, 2, 3)) - both + 1)).mean()
        for n, (answer, label) in enumerate(zip(answers, wanted, strict=True)):
            loss = loss + F.binary_cross_entropy_with_logits(answer, label, weight if n < 2 else None)
        return loss


def chunks(numbers: list[int]) -> list[list[int]]:
    return [numbers[i : i + BATCH] for i in range(0, len(numbers), BATCH)]


def outlines(label: Tensor) -> Tensor:
    """A weight for each pixel, larger where the label changes nearby; 1 in the mean of a picture."""
    high, low = label, -label
    for window in ((REACH, 1), (1, REACH)):
        high, low = (F.max_pool2d(x, window, 1, tuple(n // 2 for n in window)) for x in (high, low))
    weight = 1 + EDGE * (high + low)
    return weight / weight.mean((1, 2, 3), keepdim=True)


def _stretch(size: int, to: int) -> Tensor:
    """(to, size): bilinear upsampling of a line, half-pixel."""
    return F.interpolate(torch.eye(size)[:, None], size=to, mode="linear", align_corners=False)[:, 0].T.contiguous()
