"""A network in integers, computed in Torch as a runtime of integers does: real numbers that stay on the maps' steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo.arch import POOL, RSU, Architecture, Unit

from .integer_network import IntegerNetwork, IntegerUnit, Steps

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["IntegerWalk", "Maps", "as_mask", "masks"]


@dataclass(frozen=True)
class Maps:
    """A feature map of each photograph.

    Attributes:
        whole: on the steps.
        exact: what float32 makes of it, in a fit; elsewhere empty.
    """

    whole: "list[Tensor]"
    steps: Steps
    exact: "tuple[Tensor, ...]" = ()

    def each(self, compute: "Callable[[Tensor], Tensor]") -> "Maps":
        """`compute` of every tensor, whose results lie on the steps again."""
        return Maps([compute(x) for x in self.whole], self.steps, tuple(compute(x) for x in self.exact))


class IntegerWalk:
    """Torch's arithmetic for the walk."""

    def __init__(self, units: "Callable[[Unit, Maps], IntegerUnit]"):
        import torch

        self.torch, self.F = torch, torch.nn.functional
        self.units = units

    def whole(self, x: "Tensor", steps: Steps) -> "Tensor":
        """The nearest real numbers on `steps`."""
        limits = np.iinfo(steps.dtype)
        low, high = limits.min - steps.zero, limits.max - steps.zero
        return x.div(steps.scale).round_().clamp_(low, high).mul_(steps.scale)

    def stepped(self, x: Maps, steps: Steps) -> Maps:
        if x.steps == steps:
            return x
        return Maps([self.whole(each, steps) for each in x.whole], steps, x.exact)

    def conv(self, unit: Unit, x: Maps) -> Maps:
        found = self.units(unit, x)
        bias = found.whole_bias * (found.scale.astype(np.float64) * found.given.scale)
        kernel = self.torch.from_numpy(found.kernel).contiguous(memory_format=self.torch.channels_last)
        results = []
        for each in self.stepped(x, found.given).whole:
            y = self.convolved(unit, each, kernel, self.torch.from_numpy(bias.astype(np.float32)))
            results.append(self.whole(y.relu_() if unit.relu else y, found.answered))
        return Maps(results, found.answered)

    def convolved(self, unit: Unit, x: "Tensor", kernel: "Tensor", bias: "Tensor") -> "Tensor":
        return self.F.conv2d(x, kernel, bias, unit.stride, unit.padding, unit.dilation)

    def pool(self, x: Maps) -> Maps:
        return x.each(lambda y: self.F.max_pool2d(y, POOL, POOL, ceil_mode=True))

    def upsample(self, x: Maps, like: Maps) -> Maps:
        size = like.whole[0].shape[2:]
        if x.whole[0].shape[2:] == size:
            return x
        up = x.each(lambda y: self.F.interpolate(y, size=size, mode="bilinear", align_corners=False))
        return Maps([self.whole(y, x.steps) for y in up.whole], x.steps, up.exact)

    def concat(self, *maps: Maps) -> Maps:
        """On the finest of their steps."""
        steps = min((each.steps for each in maps), key=lambda each: each.scale)
        maps = tuple(self.stepped(each, steps) for each in maps)
        whole = [self.torch.cat(each, dim=1) for each in zip(*(m.whole for m in maps), strict=True)]
        exact = tuple(self.torch.cat(each, dim=1) for each in zip(*(m.exact for m in maps), strict=True))
        return Maps(whole, steps, exact)

    def add(self, a: Maps, b: Maps) -> Maps:
        """On the steps of the first."""
        b = self.stepped(b, a.steps)
        whole = [self.whole(x + y, a.steps) for x, y in zip(a.whole, b.whole, strict=True)]
        return Maps(whole, a.steps, tuple(x + y for x, y in zip(a.exact, b.exact, strict=True)))

    def block(self, block: RSU, x: Maps) -> Maps:
        return block.run(self, x)


def masks(network: IntegerNetwork, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """d0 of each of `inputs`, (1, C, H, W) float32: (out_ch, H, W), after the last activation."""
    import torch

    walk = IntegerWalk(lambda unit, _: network.units[unit.path])
    found = []
    with torch.inference_mode():
        for x in inputs:
            given = Maps([walk.whole(torch.from_numpy(x), network.image)], network.image)
            found.append(as_mask(network.arch.run(walk, given)[0].whole[0], network.arch))
    return found


def as_mask(logits: "Tensor", arch: Architecture) -> np.ndarray:
    """(1, out_ch, H, W) of one picture -> (out_ch, H, W), after the last activation."""
    found: np.ndarray = (logits.sigmoid() if arch.final == "sigmoid" else logits)[0].numpy()
    return found
