"""Batches for Torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .samples import Order, Sample, Samples

__all__ = ["Batch", "loader"]


@dataclass
class Batch:
    """image: (N, C, S, S); mask: (N, 1, S, S) in [0, 1], or None; skipped: (file, reason) passed over on the way."""

    image: Tensor
    mask: Tensor | None
    skipped: tuple[tuple[str, str], ...]

    def to(self, device: Any) -> "Batch":
        mask = None if self.mask is None else self.mask.to(device, non_blocking=True)
        return Batch(self.image.to(device, non_blocking=True), mask, self.skipped)


class _Torch(Dataset):
    """`Samples` under the base class that Torch's loader wants."""

    def __init__(self, samples: Samples):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        return self.samples[key]


def loader(samples: Samples, order: Order, workers: int = 0, pin: bool = False) -> DataLoader[Any]:
    """The batches of one epoch in their order; `workers` processes read ahead, 0 reads in this one."""
    return DataLoader(
        _Torch(samples),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
    )


def _collate(samples: Sequence[Sample]) -> Batch:
    masks = [torch.from_numpy(sample.mask) for sample in samples if sample.mask is not None]
    return Batch(
        torch.stack([torch.from_numpy(sample.image) for sample in samples]),
        torch.stack(masks) if masks else None,
        tuple(skip for sample in samples for skip in sample.skipped),
    )
