"""The stream of training pictures: which pair comes when, read and augmented; unreadable photographs passed over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError, InputError
from .augment import Augment
from .labels import labels_of
from .pairs import Pair, read
from .schedule import steps_per_epoch

__all__ = ["Order", "Sample", "Samples"]


@dataclass(frozen=True)
class Sample:
    """image: (C, S, S) float32; mask: (1, S, S) float32, see `Labels.of`, or None; skipped: (file, reason) passed over
    for it."""

    image: np.ndarray
    mask: np.ndarray | None
    skipped: tuple[tuple[str, str], ...] = ()


class Samples:
    """(epoch, index) -> Sample. The place of a photograph that cannot be read is taken by the next one that can.

    So every batch is as large as it should be, in every process.
    """

    def __init__(self, pairs: Sequence[Pair], augment: Augment):
        self.pairs = pairs
        self.augment = augment
        self.labels, self.channels = labels_of(augment.recipe), augment.recipe.in_ch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        skipped: list[tuple[str, str]] = []
        for step in range(len(self.pairs)):
            pair = self.pairs[(index + step) % len(self.pairs)]
            try:
                image, mask = read(pair, self.labels, self.channels)
            except ImageError as error:
                skipped.append((str(pair.image), str(error)))
                continue
            return Sample(*self.augment(image, mask, epoch, index), tuple(skipped))
        raise InputError(f"none of the {len(self.pairs)} photographs can be read; the first: {skipped[0][1]}")


@dataclass(frozen=True)
class Order:
    """Batches of keys (epoch, index) of one epoch for one process; together the processes hold the whole batch.

    Attributes:
        pairs: how many there are.
        batch: size over all processes; a multiple of `world`.
        first: step of the epoch to begin with, for a run that was interrupted.
    """

    pairs: int
    batch: int
    seed: int
    epoch: int
    first: int = 0
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return steps_per_epoch(self.pairs, self.batch) - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.pairs)
        for step in range(self.first, self.first + len(self)):
            whole = order[step * self.batch : (step + 1) * self.batch]
            short = -len(whole) % self.world  # every process gets as many: the last batch is filled from the beginning
            whole = np.concatenate([whole, np.resize(order, short)]) if short else whole
            yield [(self.epoch, int(index)) for index in whole[self.rank :: self.world]]
