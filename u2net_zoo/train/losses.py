"""What training minimises, in Torch; on logits, which is stable where the authors' BCELoss after a sigmoid is not."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .labels import IGNORED

__all__ = ["deep_bce", "deep_cross_entropy", "distillation"]


def deep_bce(logits: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Sum over the outputs of the mean binary cross-entropy to one mask (the authors' `muti_bce_loss_fusion`).

    Args:
        logits: d0 … dN before the sigmoid, (N, 1, H, W) each.
        mask: (N, 1, H, W) in [0, 1].
    """
    return torch.stack([F.binary_cross_entropy_with_logits(d.float(), mask) for d in logits]).sum()


def deep_cross_entropy(logits: Sequence[Tensor], classes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum over the outputs of the cross-entropy to one map of classes, as cloth-segmentation's trainer has it.

    Each output's is the mean over the pixels, weighted by `weights[class]`; 0 where all of them are `IGNORED`.

    Args:
        logits: (N, classes, H, W) each.
        classes: (N, 1, H, W), whole numbers of any dtype, or `IGNORED`.
        weights: (classes,); None: all alike.
    """
    target = classes[:, 0].long()
    counts = (target != IGNORED).float()
    if weights is not None:
        counts = counts * weights[target.clamp(min=0)]
    whole = counts.sum()
    sums = [F.cross_entropy(d.float(), target, weights, ignore_index=IGNORED, reduction="sum") for d in logits]
    return torch.stack(sums).sum() / torch.where(whole > 0, whole, 1)


def distillation(logits: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over the outputs of the mean binary cross-entropy to what the teacher answers there, in [0, 1]."""
    pairs = zip(logits, teacher, strict=True)
    return torch.stack([F.binary_cross_entropy_with_logits(d.float(), t.float()) for d, t in pairs]).sum()
