"""Keras layers without a graph, as weights alone are stored -> Checkpoint.

The blocks of a U²-Net are one chain, and Keras stores the layers of a functional model in the order in which they run,
so convolutions and norms pair by their places. The side outputs run beside each other: see `side_order`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from u2net_zoo.arch import BN_EPS, U2NET, Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.dilation import assumed, decided
from u2net_zoo.errors import NotANetworkError
from u2net_zoo.folded import architecture_of
from u2net_zoo.identify import named
from u2net_zoo.weight_map import KERAS_LEAF

from .side_order import settled
from .weight_graph import Conv

__all__ = ["from_layers"]

SIDES = len(U2NET.encoder)
UNKNOWN_EPSILON = f"the epsilon of its norms is not in the file; {BN_EPS:g} is taken, and Keras' own default is 0.001"


@dataclass(frozen=True)
class _Parts:
    """Convolutions by what they are for; each list in the file's order."""

    chain: list[Conv]
    sides: list[Conv]
    fusion: list[Conv]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [conv.kernel.shape for conv in (*self.chain, *self.sides, *self.fusion)]


def from_layers(
    convolutions: Sequence[Conv],
    norms: Sequence[Mapping[str, np.ndarray]],
    epsilon: float | None,
    blocks: str | None = None,
) -> Checkpoint:
    """The network of convolutions and norms that are known by their order alone; its notes say what was assumed.

    Args:
        norms: of each, the arrays by Keras' names. None at all: they are folded into the convolutions.
        epsilon: of the norms; None: the file does not tell.
        blocks: see `dilation.decided`.

    Raises:
        CheckpointError: they are no U²-Net's, or the order is not plain from them.
    """
    parts = _sorted(convolutions)
    arch = decided(architecture_of(parts.shapes), blocks=blocks)
    units = [unit for unit in arch.units() if unit.norm]
    if not norms:
        arch = arch.fold()
    elif len(norms) != len(units):
        raise NotANetworkError(f"not a U²-Net: {len(norms)} batch norms; expected: {len(units)} or none")
    placed = _placed(arch, parts.sides)
    state = _state(arch, [*parts.chain, *(parts.sides[n] for n in placed), *parts.fusion])
    for unit, norm in zip(units, norms, strict=False):
        state |= {f"{unit.norm_path}.{leaf}": value for leaf, value in _norm(norm, epsilon).items()}
    note = assumed(arch, blocks=blocks)
    meta = {"dilation": note} if note else {}
    found = settled(Checkpoint.from_state(state, arch=arch, meta=meta), [placed.index(n) for n in range(len(placed))])
    return _noted(found.unfold(), stated=epsilon is not None or not norms)


def _sorted(convolutions: Sequence[Conv]) -> _Parts:
    if not convolutions:
        raise NotANetworkError("not a U²-Net: no layer with the kernel of a convolution")
    fusion = [conv for conv in convolutions if conv.kernel.shape[2:] == (1, 1)]
    outputs = (fusion or convolutions)[-1].kernel.shape[0]
    rest = [n for n, conv in enumerate(convolutions) if conv.kernel.shape[2:] != (1, 1)]
    sides = [n for n in rest if convolutions[n].kernel.shape[0] == outputs][-SIDES:]
    return _Parts([convolutions[n] for n in rest if n not in sides], [convolutions[n] for n in sides], fusion)


def _placed(arch: Architecture, sides: Sequence[Conv]) -> list[int]:
    """For each side output a kernel of its shape: the first of the file that is left."""
    left, placed = list(range(len(sides))), []
    for unit in arch.sides:
        shape = (unit.out_ch, unit.in_ch, unit.kernel, unit.kernel)
        fitting = [n for n in left if sides[n].kernel.shape == shape]
        if not fitting:
            raise NotANetworkError(f"not a U²-Net: no kernel of the shape {shape} for {unit.name}")
        placed.append(fitting[0])
        left.remove(fitting[0])
    return placed


def _state(arch: Architecture, convolutions: Sequence[Conv]) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
    for unit, conv in zip(arch.units(), convolutions, strict=True):
        state[f"{unit.conv_path}.weight"] = conv.kernel
        state[f"{unit.conv_path}.bias"] = np.zeros(unit.out_ch, np.float32) if conv.bias is None else conv.bias
    return state


def _norm(arrays: Mapping[str, np.ndarray], epsilon: float | None) -> dict[str, np.ndarray]:
    """A norm under Torch's names, at the network's own epsilon: what differs is added to the variance."""
    defaults = {"gamma": np.ones_like, "beta": np.zeros_like}
    found = {
        leaf: arrays[name] if name in arrays else defaults[name](arrays["moving_mean"])
        for leaf, name in KERAS_LEAF.items()
    }
    if epsilon is not None and epsilon != BN_EPS:
        found["running_var"] = (found["running_var"].astype(np.float64) + epsilon - BN_EPS).astype(np.float32)
    return found


def _noted(checkpoint: Checkpoint, *, stated: bool) -> Checkpoint:
    found = Checkpoint(named(checkpoint.arch), checkpoint.state, checkpoint.meta)
    return found if stated else found.with_meta(epsilon=UNKNOWN_EPSILON)
