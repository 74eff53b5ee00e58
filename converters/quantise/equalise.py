"""The same network with feature maps that all reach 1: then one 8-bit scale serves every channel of every map.

ReLU, pooling, bilinear upsampling and concatenation commute with a positive factor per channel. So a unit may divide
its output channels by how far they reach, and whoever takes them multiplies its kernel; nothing is computed
differently. The two maps that a block adds share their factors.

After M. Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019; here with
concatenations, and divided by the measured reach where they balance kernels.
"""

from collections.abc import Mapping

import numpy as np

from u2net_zoo.arch import RSU, Unit
from u2net_zoo.checkpoint import Checkpoint

__all__ = ["MOST", "RSU_ENDS", "equalised"]

RSU_ENDS = ("rebnconvin", "rebnconv1d")  # the units whose maps a block adds
# The largest weight between maps that reach 1. XNNPACK takes no kernel in 8 bits whose steps are 256 times the answer's
# (`requantization_scale` of its convolutions), of which a kernel has 127. Half of it: kernels are fitted afterwards.
MOST = 127 * 128
LEAST = 1e-3  # of the map's own reach: a channel that is nearly always 0 is not blown up further


class _Factors:
    """The walk with a map standing for the factors (C,) that its channels were divided by."""

    def __init__(self, state: Mapping[str, np.ndarray], reach: Mapping[str, np.ndarray]):
        self.state = dict(state)
        self.reach = reach
        self.found: dict[str, np.ndarray] = {}

    def conv(self, unit: Unit, x: np.ndarray) -> np.ndarray:
        kernel, bias = (self.state[f"{unit.conv_path}.{leaf}"].astype(np.float64) for leaf in ("weight", "bias"))
        kernel *= x[None, :, None, None]
        place = unit.scope if unit.name in RSU_ENDS else unit.path  # what a block adds has the first one's
        if place not in self.found:
            self.found[place] = self._factors(unit, place, np.abs(kernel).max(axis=(1, 2, 3)))
        factors = self.found[place]
        kernel /= factors[:, None, None, None]
        self.state[f"{unit.conv_path}.weight"] = kernel.astype(np.float32)
        self.state[f"{unit.conv_path}.bias"] = (bias / factors).astype(np.float32)
        return factors

    def _factors(self, unit: Unit, place: str, weights: np.ndarray) -> np.ndarray:
        """`weights`: the largest of each kernel (O,), of maps that reach 1."""
        if not unit.relu:
            return np.ones(unit.out_ch)
        reach = self.reach[place].astype(np.float64)
        if reach.max() < weights.max() / MOST:  # it answers 0 to every picture: nothing is known of it
            return np.ones(unit.out_ch)
        return np.maximum(reach, np.maximum(weights / MOST, max(LEAST * reach.max(), 1e-6)))

    def pool(self, x: np.ndarray) -> np.ndarray:
        return x

    def upsample(self, x: np.ndarray, like: np.ndarray) -> np.ndarray:
        return x

    def concat(self, *maps: np.ndarray) -> np.ndarray:
        return np.concatenate(maps)

    def add(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a

    def block(self, block: RSU, x: np.ndarray) -> np.ndarray:
        return block.run(self, x)


def equalised(checkpoint: Checkpoint, reach: Mapping[str, np.ndarray]) -> Checkpoint:
    """`checkpoint`, folded, with its feature maps divided by `reach`.

    Args:
        reach: the largest value of each channel (C,), by unit path; by the block's path for what it adds and the sum.
    """
    folded = checkpoint.fold()
    walk = _Factors(folded.state, reach)
    folded.arch.run(walk, np.ones(folded.arch.in_ch))
    return Checkpoint.from_state(walk.state, arch=folded.arch, meta=folded.meta)
