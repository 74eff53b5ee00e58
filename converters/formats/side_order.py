"""Which side convolution belongs to which stage, where a file does not say: what it computes on photographs tells.

Every side is trained to show the same mask. So the maps of six sides at their own stages resemble each other, and those
of a side at another stage's features resemble nothing. The order of the blocks before them is proved by the same token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError
from u2net_zoo.preprocessing import PROFILES

from .. import sample_images

if TYPE_CHECKING:
    import torch

__all__ = ["settled"]

PHOTOGRAPHS = ("astronaut", "chelsea", "rocket")
SIZE = (192, 192)
# Mean correlation of two sides' maps over the photographs, measured on 2026-11-26: u2net_nano 0.92 and u2netp 0.86 in
# the right order, 0.79 and 0.73 in the next best. d0 beside the mean of the sides: 0.988 and 0.944, reversed 0.957 and
# 0.888. `APART`: what lacks to 1 in the best order, relative to the next best.
LEAST, APART = 0.6, 0.8
REMEDY = "save the whole model (`model.save('model.keras')`, or `.h5` in Keras 2), which says it"

Order = tuple[int, ...]


@dataclass(frozen=True)
class _Maps:
    """Of one photograph: `maps[side, stage]`, the (C·H·W,) map of a side's kernel at a stage's features."""

    maps: dict[tuple[int, int], np.ndarray]
    resemblance: dict[tuple[tuple[int, int], tuple[int, int]], float]


def settled(checkpoint: Checkpoint, stored: Sequence[int]) -> Checkpoint:
    """`checkpoint` with its sides at the right stages; its note `order` says how that is known.

    Args:
        checkpoint: the sides stand at any stages whose features they can take.
        stored: numbers of these stages in the order in which the file holds their sides.

    Raises:
        CheckpointError: the maps do not tell.
    """
    if checkpoint.arch.in_ch != 3:
        raise CheckpointError(f"the file does not say which side output is which; {REMEDY}")
    found = list(_measure(checkpoint))
    order, alike = _order(found)
    fusion = _fusion(checkpoint, order, [order.index(side) for side in stored], found)
    return _arranged(checkpoint, order, fusion).with_meta(
        order="the file does not say which side output is which;"
        f" decided on photographs, where they agree ({alike:.2f})"
    )


def _measure(checkpoint: Checkpoint) -> Iterator[_Maps]:
    import torch

    from u2net_zoo import torch_model

    model = torch_model.build(checkpoint)
    sides = [getattr(model, unit.name) for unit in checkpoint.arch.sides]
    features: list[torch.Tensor] = []
    hooks = [side.register_forward_pre_hook(lambda _, given: features.append(given[0])) for side in sides]
    tensors = [PROFILES["paper"].tensor(sample_images.bundled(name), SIZE) for name in PHOTOGRAPHS]
    with torch.inference_mode():
        for x in tensors:
            features.clear()
            model(torch.from_numpy(x))
            stages = list(features)
            yield _maps_of(sides, stages)
    for hook in hooks:
        hook.remove()


def _maps_of(sides: Sequence[Any], stages: "Sequence[torch.Tensor]") -> _Maps:
    from torch.nn import functional

    maps = {}
    for i, side in enumerate(sides):
        for n, features in enumerate(stages):
            if features.shape[1] == side.in_channels:
                found = functional.conv2d(features, side.weight, side.bias, padding=side.padding)
                maps[i, n] = functional.interpolate(found, size=SIZE, mode="bilinear").numpy().reshape(-1)
    keys = list(maps)
    alike = _correlations(np.stack([maps[key] for key in keys]))
    return _Maps(maps, {(a, b): float(alike[i, j]) for i, a in enumerate(keys) for j, b in enumerate(keys)})


def _correlations(rows: np.ndarray) -> np.ndarray:
    """Of every two rows; 0 with one that does not vary."""
    rows = rows.astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit @ unit.T


def _order(found: Sequence[_Maps]) -> tuple[Order, float]:
    """The side at each stage, and how much their maps are alike. Raises CheckpointError: another order is as good."""
    count = 1 + max(n for _, n in found[0].maps)
    ranked = sorted(((_alike(found, order), order) for order in _orders(found[0], count)), reverse=True)
    best, order = ranked[0]
    rest = [alike for alike, _ in ranked[1:]]
    if not best >= LEAST or (rest and 1 - best > APART * (1 - rest[0])):
        raise CheckpointError(
            f"the file does not say which layer is which, and on photographs its side outputs do not agree"
            f" ({best:.2f}{f', {rest[0]:.2f} in another order' if rest else ''}); {REMEDY}"
        )
    return order, best


def _orders(found: _Maps, count: int) -> Iterator[Order]:
    return (order for order in permutations(range(count)) if all((order[n], n) in found.maps for n in range(count)))


def _alike(found: Sequence[_Maps], order: Order) -> float:
    pairs = list(combinations(((side, n) for n, side in enumerate(order)), 2))
    return float(np.mean([maps.resemblance[pair] for maps in found for pair in pairs])) if pairs else 1.0


def _fusion(checkpoint: Checkpoint, order: Order, visited: Sequence[int], found: Sequence[_Maps]) -> Order:
    """Which input of the fusion belongs to each stage: in their order or in reverse, whichever agrees with the sides.

    Args:
        visited: the stages in the order in which the file holds their sides. Keras goes through a model from its
            outputs, so that this is the order of the fusion's inputs, but for side 1, which is not upsampled.

    Raises:
        CheckpointError: the file's order is neither, or both agree as well.
    """
    forward = tuple(range(len(order)))
    if not checkpoint.arch.fused:
        return forward
    upsampled = [stage for stage in visited if stage]
    if upsampled not in (sorted(upsampled), sorted(upsampled, reverse=True)):
        raise CheckpointError(f"the file does not say in which order the side outputs are fused; {REMEDY}")
    ranked = sorted(
        ((_agreement(checkpoint, order, way, found), way) for way in (forward, forward[::-1])), reverse=True
    )
    (best, way), (other, _) = ranked
    if 1 - best > APART * (1 - other):
        raise CheckpointError(f"the file does not say in which order the side outputs are fused; {REMEDY}")
    return way


def _agreement(checkpoint: Checkpoint, order: Order, fusion: Order, found: Sequence[_Maps]) -> float:
    """How much d0 resembles the mean of the sides."""
    kernel = _blocks(checkpoint, fusion)[:, :, :, 0, 0]  # (out, stage, in)
    alike = []
    for each in found:
        sides = np.stack([each.maps[side, n].reshape(kernel.shape[0], -1) for n, side in enumerate(order)])
        d0 = np.einsum("osi,sip->op", kernel, sides)
        alike.append(_correlations(np.stack([d0.reshape(-1), sides.mean(0).reshape(-1)]))[0, 1])
    return float(np.mean(alike))


def _blocks(checkpoint: Checkpoint, fusion: Order) -> np.ndarray:
    """The fusion's kernel (out, stage, in, 1, 1), its inputs taken in the order `fusion`."""
    kernel = checkpoint.state["outconv.weight"]
    out, width = kernel.shape[:2]
    return kernel.reshape(out, len(fusion), width // len(fusion), *kernel.shape[2:])[:, list(fusion)]


def _arranged(checkpoint: Checkpoint, order: Order, fusion: Order) -> Checkpoint:
    state, names = dict(checkpoint.state), [unit.name for unit in checkpoint.arch.sides]
    for name, side in zip(names, order, strict=True):
        for leaf in ("weight", "bias"):
            state[f"{name}.{leaf}"] = checkpoint.state[f"{names[side]}.{leaf}"]
    if checkpoint.arch.fused:
        kernel = _blocks(checkpoint, fusion)
        state["outconv.weight"] = np.ascontiguousarray(kernel.reshape(checkpoint.state["outconv.weight"].shape))
    return Checkpoint.from_state(state, arch=checkpoint.arch, meta=checkpoint.meta)
