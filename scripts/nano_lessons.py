"""What `train_nano.py` asks of the student: the teacher's outputs on photographs, the true alpha on composites."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from u2net_zoo import torch_model
from u2net_zoo.arch import RSU, Unit
from u2net_zoo.torch_model import U2Net

__all__ = ["BATCH", "Lesson"]

BATCH = 8
BOUNDARY_WEIGHT = 3.0  # how much more a pixel beside an outline counts, for d0 and d1
BOUNDARY_WIDTH = 7  # pixels across what is beside an outline
SOFT_IOU_WEIGHT = 1.0


class Walk(torch_model._TorchOps):
    """The network's walk with a quicker gradient; `sides` holds d2 and on at their own sizes."""

    def __init__(self, scope: torch.nn.Module):
        super().__init__(scope)
        self.sides: list[Tensor] = []

    def conv(self, unit: Unit, x: Tensor) -> Tensor:
        if unit.kernel > 1:
            return super().conv(unit, x)
        with torch.autocast("cpu", enabled=False):  # the fusion: logits of ten and more would lose their fractions
            return super().conv(unit, x.float())

    def upsample(self, x: Tensor, like: Tensor) -> Tensor:
        if x.shape[1] > 1:
            return Upsample2x.apply(x)
        self.sides.append(x)
        down, across = (bilinear_matrix(x.shape[axis], like.shape[axis]) for axis in (2, 3))
        with torch.autocast("cpu", enabled=False):
            return down @ x.float() @ across.T

    def block(self, block: RSU, x: Tensor) -> Tensor:
        return block.run(Walk(getattr(self.scope, block.path)), x)


class Upsample2x(torch.autograd.Function):
    """Bilinear upsampling to twice the size, half-pixel; the gradient is a strided convolution with its weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        taps = gradient.new_tensor([0.25, 0.75, 0.75, 0.25])
        kernel = torch.outer(taps, taps).expand(gradient.shape[1], 1, 4, 4)
        return F.conv2d(F.pad(gradient, (1, 1, 1, 1), "replicate"), kernel, stride=2, groups=gradient.shape[1])


class Lesson:
    """Binary cross-entropy over all outputs, each side at its own size, and the soft IoU of d0.

    d0 and d1 are weighed towards outlines. Convolutions compute in bfloat16, teacher's and student's alike.

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
        unlabelled = [i for i, alpha in enumerate(alphas) if alpha is None]
        with_alpha = [i for i, alpha in enumerate(alphas) if alpha is not None]
        by_teacher = [
            [a.sigmoid().half() for a in self.answers(self.teacher, pictures[pick])] for pick in chunks(unlabelled)
        ]
        by_alpha = []
        for pick in chunks(with_alpha):
            alpha = torch.from_numpy(np.stack([alphas[i] for i in pick]))[:, None]
            sides = [F.avg_pool2d(alpha, 2**n) for n in range(1, len(self.student.arch.sides))]
            by_alpha.append([a.half() for a in (alpha, alpha, *sides)])
        back = torch.tensor(unlabelled + with_alpha).argsort()
        labels = [torch.cat(rows)[back] for rows in zip(*by_teacher, *by_alpha, strict=True)]
        return [*labels, boundary_weights(labels[0].float()).half()]

    def loss(self, x: Tensor, labels: list[Tensor]) -> Tensor:
        *wanted, weight = (label.float() for label in labels)
        answers = self.answers(self.student, x)
        p = answers[0].sigmoid()
        both = (p * wanted[0]).sum((1, 2, 3))
        loss = SOFT_IOU_WEIGHT * (1 - (both + 1) / ((p + wanted[0]).sum((1, 2, 3)) - both + 1)).mean()
        for n, (answer, label) in enumerate(zip(answers, wanted, strict=True)):
            loss = loss + F.binary_cross_entropy_with_logits(answer, label, weight if n < 2 else None)
        return loss


def chunks(numbers: list[int]) -> list[list[int]]:
    return [numbers[i : i + BATCH] for i in range(0, len(numbers), BATCH)]


def boundary_weights(label: Tensor) -> Tensor:
    """A weight for each pixel, larger where the label changes nearby; 1 in the mean of a picture."""
    high, low = label, -label
    for window in ((BOUNDARY_WIDTH, 1), (1, BOUNDARY_WIDTH)):
        high, low = (F.max_pool2d(x, window, 1, tuple(n // 2 for n in window)) for x in (high, low))
    weight = 1 + BOUNDARY_WEIGHT * (high + low)
    return weight / weight.mean((1, 2, 3), keepdim=True)


def bilinear_matrix(size: int, to: int) -> Tensor:
    """(to, size): bilinear upsampling of a line, half-pixel."""
    return F.interpolate(torch.eye(size)[:, None], size=to, mode="linear", align_corners=False)[:, 0].T.contiguous()
