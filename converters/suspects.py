"""What is usually wrong with a converted U²-Net: one row per suspect, each a variant of the right network.

A file whose weights are right and whose answers are not is compared with the network under each suspect's rule; the one
that brings the answers together explains the difference. To add a suspect: one function and one row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL, RSU, Unit
from u2net_zoo.checkpoint import Checkpoint

__all__ = ["SUSPECTS", "Suspect"]

Answer = dict[str, np.ndarray]


@dataclass(frozen=True)
class Suspect:
    """One way to be wrong.

    Attributes:
        name: what explains the difference, as people would search for it.
        differs: the part of the network that differs: `resizing`, `pooling` …
        run: the answers (name -> (N, C, H, W)) that a network with this fault gives to x, (N, C, H, W) float32.
    """

    name: str
    differs: str
    run: Callable[[Checkpoint, np.ndarray], Answer]


class _Ops:
    """Torch's arithmetic with one rule bent; `scope` holds the modules by name."""

    def __init__(self, scope: Any, **rules: Any):
        self.scope = scope
        self.rules = rules

    def conv(self, unit: Unit, x: Any) -> Any:
        module = getattr(self.scope, unit.name)
        if self.rules.get("dilation", True) or unit.dilation == 1:
            return module(x)
        return self._undilated(module, x)

    def _undilated(self, module: Any, x: Any) -> Any:
        import torch.nn.functional as F

        conv, *rest = module
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        for part in rest:
            x = part(x)
        return x

    def pool(self, x: Any) -> Any:
        import torch.nn.functional as F

        if self.rules.get("pool") == "average":
            return F.avg_pool2d(x, POOL, POOL, ceil_mode=True)
        return F.max_pool2d(x, POOL, POOL, ceil_mode=self.rules.get("pool") != "floor")

    def upsample(self, x: Any, like: Any) -> Any:
        import torch.nn.functional as F

        size, mode = like.shape[2:], self.rules.get("resize", "half-pixel")
        if mode == "nearest":
            return F.interpolate(x, size=size, mode="nearest")
        if mode == "origin":
            return _resize_from_origin(x, size)
        return F.interpolate(x, size=size, mode="bilinear", align_corners=mode == "corners")

    def concat(self, *maps: Any) -> Any:
        import torch

        return torch.cat(maps, dim=1)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(_Ops(getattr(self.scope, block.path), **self.rules), x)


def _resize_from_origin(x: Any, size: Any) -> Any:
    """TensorFlow 1's bilinear: source = destination · scale, neither half-pixel centres nor aligned corners."""
    for axis, wanted in zip((2, 3), size, strict=True):
        given = x.shape[axis]
        place = np.arange(wanted) * (given / wanted)
        low = np.minimum(place.astype(int), given - 1)
        high = np.minimum(low + 1, given - 1)
        shape = [1, 1, 1, 1]
        shape[axis] = wanted
        part = x.new_tensor(place - low).reshape(shape)
        x = x[(slice(None),) * axis + (low,)] * (1 - part) + x[(slice(None),) * axis + (high,)] * part
    return x


def _network(**rules: Any) -> Callable[[Checkpoint, np.ndarray], Answer]:
    """The network with a bent rule of arithmetic."""

    def run(checkpoint: Checkpoint, x: np.ndarray) -> Answer:
        import torch

        from u2net_zoo import torch_model

        model = torch_model.build(checkpoint)
        arch = checkpoint.arch
        with torch.inference_mode():
            maps = arch.run(_Ops(model, **rules), torch.from_numpy(x))
            maps = tuple(torch.sigmoid(m) for m in maps) if arch.final == "sigmoid" else maps
        return {name: m.numpy() for name, m in zip(arch.outputs, maps, strict=True)}

    return run


def _fed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Checkpoint, np.ndarray], Answer]:
    """The right network, fed something else than it was given."""
    return lambda checkpoint, x: _network()(checkpoint, np.ascontiguousarray(change(x), np.float32))


def _answering(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Checkpoint, np.ndarray], Answer]:
    """The right network, whose answer is changed afterwards."""
    return lambda checkpoint, x: {name: change(m) for name, m in _network()(checkpoint, x).items()}


def _other_final(checkpoint: Checkpoint, x: np.ndarray) -> Answer:
    final = "none" if checkpoint.arch.final == "sigmoid" else "sigmoid"
    arch = replace(checkpoint.arch, final=final)
    return _network()(replace(checkpoint, arch=arch), x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


SUSPECTS = (
    Suspect("align_corners=True", "resizing", _network(resize="corners")),
    Suspect("nearest neighbour instead of bilinear", "resizing", _network(resize="nearest")),
    Suspect("bilinear without half-pixel centres (TensorFlow 1)", "resizing", _network(resize="origin")),
    Suspect("sizes rounded down (ceil_mode=False)", "pooling", _network(pool="floor")),
    Suspect("average instead of maximum", "pooling", _network(pool="average")),
    Suspect("missing dilation", "convolution", _network(dilation=False)),
    Suspect("red and blue swapped (BGR)", "the input", _fed(lambda x: x[:, ::-1])),
    Suspect("logits instead of a sigmoid, or the other way round", "the output", _other_final),
    Suspect("the sigmoid twice", "the output", _answering(_sigmoid)),
    Suspect("inverted (1 - mask)", "the output", _answering(lambda m: 1 - m)),
)
