"""Structured pruning: a narrower U²-Net that starts from a wider one's features instead of from noise.

1. `channel_sets` walks the teacher over photographs and picks, per unit, the channels from which the others are best
   predicted linearly, weighed by how strongly the next convolutions read them. A block's entry and last unit are added
   to each other, so they keep the same channels.
2. `fit` walks teacher and student together, in execution order. Each student convolution is solved by least squares to
   answer, from the *student's* own features, what the teacher answers on the kept channels; errors made upstream are
   so corrected downstream (as in Y. He et al., "Channel pruning for accelerating very deep neural networks", 2017).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from u2net_zoo.arch import POOL, RSU, Architecture, Unit
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError

__all__ = ["channel_sets", "fit", "select"]

POSITIONS = 30_000  # pixels sampled per convolution for its least squares
RIDGE = 1e-4  # relative to the mean diagonal of the Gram matrix
RELU_ROUNDS = 8  # re-fits in which wrongly negative answers behind a ReLU stop counting


def select(moments: list[tuple[Tensor, Tensor]], keep: int) -> list[int]:
    """Greedy column subset selection.

    Args:
        moments: pairs of a covariance (C, C) and a weight per channel (C,); all pairs share the channels.
        keep: how many to choose.

    Returns:
        The chosen channels, ascending: at each step the one that explains most of the weighted variance still open.
    """
    open_ = [cov.double().clone() for cov, _ in moments]
    weights = [weight.double() for _, weight in moments]
    chosen: list[int] = []
    for _ in range(keep):
        gain = torch.zeros(len(weights[0]), dtype=torch.float64)
        for cov, weight in zip(open_, weights, strict=True):
            gain += (weight[:, None] * cov**2).sum(0) / cov.diagonal().clamp(min=1e-12)
        gain[chosen] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        for i, cov in enumerate(open_):
            open_[i] = cov - torch.outer(cov[:, best], cov[best]) / cov[best, best].clamp(min=1e-12)
    return sorted(chosen)


def channel_sets(teacher: Checkpoint, student: Architecture, images: Tensor) -> dict[str, list[int]]:
    """Unit path -> the teacher's channels that the student keeps. `images`: (N, 3, H, W), normalised."""
    folded = teacher.fold()
    reads = _Reads(folded)
    folded.arch.run(reads, tuple(frozenset() for _ in range(folded.arch.in_ch)))
    stats = _Stats(folded)
    folded.arch.run(stats, images)
    sets: dict[str, list[int]] = {}
    for wide, narrow in zip(folded.arch.blocks, student.blocks, strict=True):
        for unit, slim in zip(wide.units, narrow.units, strict=True):
            both = (wide.entry.path, wide.units[-1].path) if unit.path in _ends(wide) else (unit.path,)
            moments = [(stats.covariance[path], reads.weight(path, unit.out_ch)) for path in both]
            sets[unit.path] = select(moments, slim.out_ch)
    for unit in folded.arch.heads:
        sets[unit.path] = list(range(unit.out_ch))
    return sets


def _ends(block: RSU) -> tuple[str, str]:
    return block.entry.path, block.units[-1].path


@torch.no_grad()
def fit(
    teacher: Checkpoint, student: Architecture, images: Tensor, kept: Mapping[str, list[int]], seed: int = 0
) -> Checkpoint:
    """The student's folded checkpoint. `images`: (N, 3, H, W), normalised, are the sample; `kept`: `channel_sets`.

    Raises:
        CheckpointError: the student has other stages than the teacher or is wider somewhere.
    """
    folded, slim = teacher.fold(), student.fold()
    wide = {unit.path: unit.out_ch for unit in folded.arch.units()}
    if set(wide) != {u.path for u in slim.units()} or any(u.out_ch > wide[u.path] for u in slim.units()):
        raise CheckpointError(f"{student.name} is not a narrower {teacher.arch.name}: other stages, or wider ones")
    ops = _Fit(folded, slim, kept, torch.Generator().manual_seed(seed))
    folded.arch.run(ops, _Pair(images, images, list(range(folded.arch.in_ch))))
    return Checkpoint.from_state({key: value.numpy() for key, value in ops.state.items()}, arch=slim)


class _Maps:
    """Ops on plain feature maps with a folded checkpoint's weights."""

    def __init__(self, checkpoint: Checkpoint):
        self.state = {key: torch.from_numpy(np.array(value)) for key, value in checkpoint.state.items()}

    def weights(self, unit: Unit) -> tuple[Tensor, Tensor]:
        return self.state[f"{unit.conv_path}.weight"], self.state[f"{unit.conv_path}.bias"]

    def conv(self, unit: Unit, x: Any) -> Any:
        y = _conv(unit, x, *self.weights(unit))
        return y.relu_() if unit.relu else y

    def pool(self, x: Any) -> Any:
        return F.max_pool2d(x, POOL, POOL, ceil_mode=True)

    def upsample(self, x: Any, like: Any) -> Any:
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)

    def concat(self, *maps: Any) -> Any:
        return torch.cat(maps, dim=1)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(self, x)


def _conv(unit: Unit, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x, weight, bias, padding=unit.padding, dilation=unit.dilation)


class _Stats(_Maps):
    """Covariance over pixels of every unit's output; a block's last unit stands for the block's sum."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__(checkpoint)
        self.covariance: dict[str, Tensor] = {}

    @torch.no_grad()
    def conv(self, unit: Unit, x: Tensor) -> Tensor:
        y = super().conv(unit, x)
        self.covariance[unit.path] = _covariance(y)
        return y

    def block(self, block: RSU, x: Tensor) -> Tensor:
        y = block.run(self, x)
        self.covariance[block.units[-1].path] = _covariance(y)
        return y


def _covariance(x: Tensor) -> Tensor:
    flat = x.permute(1, 0, 2, 3).flatten(1)
    step = max(1, flat.shape[1] // 200_000)
    return torch.cov(flat[:, ::step].double()).reshape(len(flat), len(flat))


class _Reads:
    """Ops on labels: which units' channels each convolution reads, and how strongly (squared kernel norm)."""

    def __init__(self, checkpoint: Checkpoint):
        self.state = checkpoint.state
        self.strength: dict[tuple[str, int], float] = defaultdict(float)

    def conv(self, unit: Unit, x: Any) -> Any:
        kernel = self.state[f"{unit.conv_path}.weight"]
        for labels, energy in zip(x, (kernel.astype(np.float64) ** 2).sum((0, 2, 3)), strict=True):
            for label in labels:
                self.strength[label] += float(energy)
        return tuple(frozenset({(unit.path, c)}) for c in range(unit.out_ch))

    def pool(self, x: Any) -> Any:
        return x

    def upsample(self, x: Any, like: Any) -> Any:
        return x

    def concat(self, *maps: Any) -> Any:
        return sum(maps, ())

    def add(self, a: Any, b: Any) -> Any:
        return tuple(one | other for one, other in zip(a, b, strict=True))

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(self, x)

    def weight(self, path: str, channels: int) -> Tensor:
        return torch.tensor([self.strength[path, c] for c in range(channels)])


@dataclass
class _Pair:
    """The teacher's map, the student's map, and which of the teacher's channels the student's are."""

    wide: Tensor
    slim: Tensor
    kept: list[int]


class _Fit:
    """Ops on pairs: each convolution of the student is solved when the walk reaches it."""

    def __init__(
        self, teacher: Checkpoint, student: Architecture, sets: Mapping[str, list[int]], generator: torch.Generator
    ):
        self.maps = _Maps(teacher)
        self.units = {unit.path: unit for unit in student.units()}
        self.sets = sets
        self.generator = generator
        self.state: dict[str, Tensor] = {}

    def conv(self, unit: Unit, x: _Pair) -> _Pair:
        kept, slim = self.sets[unit.path], self.units[unit.path]
        wide = _conv(unit, x.wide, *self.maps.weights(unit))
        weight, bias = solve(slim, x.slim, wide[:, kept], self.generator)
        self.state[f"{slim.conv_path}.weight"], self.state[f"{slim.conv_path}.bias"] = weight, bias
        answer = _conv(slim, x.slim, weight, bias)
        return _Pair(wide.relu_(), answer.relu_(), kept) if unit.relu else _Pair(wide, answer, kept)

    def pool(self, x: _Pair) -> _Pair:
        return _Pair(self.maps.pool(x.wide), self.maps.pool(x.slim), x.kept)

    def upsample(self, x: _Pair, like: _Pair) -> _Pair:
        return _Pair(self.maps.upsample(x.wide, like.wide), self.maps.upsample(x.slim, like.slim), x.kept)

    def concat(self, *maps: _Pair) -> _Pair:
        wide, slim = (torch.cat([getattr(m, side) for m in maps], 1) for side in ("wide", "slim"))
        return _Pair(wide, slim, [])

    def add(self, a: _Pair, b: _Pair) -> _Pair:
        return _Pair(a.wide + b.wide, a.slim + b.slim, a.kept)

    def block(self, block: RSU, x: _Pair) -> _Pair:
        return block.run(self, x)


def solve(unit: Unit, x: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Kernel (O, I, k, k) and bias (O,) with which `unit` answers `target` (N, O, H, W) from `x` (N, I, H, W).

    Ridge regression at sampled pixels. Where target and answer are both negative behind a ReLU, the difference does not
    matter: such targets are replaced by the answer and the fit repeated.
    """
    rows, wanted = _sample(unit, x, target, generator)
    gram = rows.T @ rows
    ridge = RIDGE * gram.diagonal().mean()
    factor = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype))
    solution = torch.cholesky_solve(rows.T @ wanted, factor)
    for _ in range(RELU_ROUNDS if unit.relu else 0):
        answer = rows @ solution
        goal = torch.where((wanted < 0) & (answer < 0), answer, wanted.clamp(min=0))
        solution = torch.cholesky_solve(rows.T @ goal, factor)
    kernel = solution[:-1].T.reshape(unit.out_ch, unit.in_ch, unit.kernel, unit.kernel)
    return kernel.float().contiguous(), solution[-1].float().contiguous()


def _sample(unit: Unit, x: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows (P, I*k*k + 1) of what the kernel sees at P sampled pixels, a one for the bias last; targets (P, O)."""
    n, _, height, width = target.shape
    count = min(POSITIONS, n * height * width)
    spots = torch.randperm(n * height * width, generator=generator)[:count]
    image, row, column = spots // (height * width), spots // width % height, spots % width
    pad = unit.padding
    padded = F.pad(x, (pad, pad, pad, pad))
    taps = [
        padded[image, :, row + i * unit.dilation, column + j * unit.dilation]
        for i in range(unit.kernel)
        for j in range(unit.kernel)
    ]
    rows = torch.stack(taps, dim=2).flatten(1)
    rows = torch.cat([rows, torch.ones(count, 1)], dim=1)
    return rows.double(), target[image, :, row, column].double()
