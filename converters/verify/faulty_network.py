"""The Torch network with faults on purpose: what a converted file would answer that has them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL, RSU, Unit
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.preprocessing import PROFILES, Profile

from ..predictor import Outputs

__all__ = ["FaultyNetwork", "Sample"]


@dataclass(frozen=True)
class Sample:
    """What a network is tried on.

    Attributes:
        x: (1, C, H, W) float32, as the right preprocessing makes it.
        peak: what the right preprocessing divided by, of 255: the photograph's largest value, or 1.
        profile: the right preprocessing.
    """

    x: np.ndarray
    peak: float = 1.0
    profile: Profile = PROFILES["paper"]

    @property
    def scaled(self) -> np.ndarray:
        """(1, 3, H, W) before the normalisation, in [0, 1]."""
        return self.x * self.per_channel(self.profile.std) + self.per_channel(self.profile.mean)

    def normalised(self, scaled: np.ndarray) -> np.ndarray:
        return (scaled - self.per_channel(self.profile.mean)) / self.per_channel(self.profile.std)

    @property
    def coloured(self) -> bool:
        return self.x.shape[1] == 3

    @staticmethod
    def per_channel(values: tuple[float, ...]) -> np.ndarray:
        return np.asarray(values)[None, :, None, None]


@dataclass(frozen=True)
class FaultyNetwork:
    """The rules of a network; the defaults are the right ones.

    Attributes:
        resize: `half-pixel`, `corners` (align_corners=True), `nearest` or `origin` (TensorFlow 1).
        pool: `ceil`, `floor` or `average`.
        dilation: False: every convolution looks at its neighbours.
        dtype: Torch's name of the type that is computed in.
        weights: checkpoint -> the checkpoint that the file holds instead.
        feed: sample -> what is fed instead of its `x`.
        final: the final activation, where it is not the checkpoint's own.
        answer: what is done to every map at the end.
    """

    resize: str = "half-pixel"
    pool: str = "ceil"
    dilation: bool = True
    dtype: str = "float32"
    weights: Callable[[Checkpoint], Checkpoint] | None = None
    feed: Callable[[Sample], np.ndarray] | None = None
    final: str | None = None
    answer: Callable[[np.ndarray], np.ndarray] | None = None

    def run(self, checkpoint: Checkpoint, sample: Sample, model: Any = None) -> Outputs:
        """name -> (N, out_ch, H, W) float32. `model`: the Torch model of `checkpoint`, where there is one already."""
        import torch

        from u2net_zoo import torch_model

        dtype = getattr(torch, self.dtype)
        if model is None or self.weights or self.dtype != "float32":
            model = torch_model.build(self.weights(checkpoint) if self.weights else checkpoint, dtype=dtype)
        x = np.ascontiguousarray(self.feed(sample) if self.feed else sample.x, np.float32)
        arch = checkpoint.arch
        with torch.inference_mode():
            maps = arch.run(_Ops(model, self), torch.from_numpy(x).to(dtype))
            sigmoid = (self.final or arch.final) == "sigmoid"
            arrays = [(torch.sigmoid(m) if sigmoid else m).float().numpy() for m in maps]
        return {
            name: self.answer(array) if self.answer else array for name, array in zip(arch.outputs, arrays, strict=True)
        }

    def changed(self) -> set[str]:
        """Names of the rules that are not the right ones."""
        right = FaultyNetwork()
        return {name for name in vars(right) if getattr(self, name) != getattr(right, name)}

    def and_(self, other: "FaultyNetwork") -> "FaultyNetwork":
        """Both faults; where both bend the same rule, the other's."""
        return replace(self, **{name: getattr(other, name) for name in other.changed()})


class _Ops:
    """Torch's arithmetic under `rules`; `scope` holds the modules by name."""

    def __init__(self, scope: Any, rules: FaultyNetwork):
        self.scope = scope
        self.rules = rules

    def conv(self, unit: Unit, x: Any) -> Any:
        module = getattr(self.scope, unit.name)
        return module(x) if self.rules.dilation or unit.dilation == 1 else self._undilated(module, x)

    def _undilated(self, module: Any, x: Any) -> Any:
        import torch.nn.functional as F

        conv, *rest = module
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        for part in rest:
            x = part(x)
        return x

    def pool(self, x: Any) -> Any:
        import torch.nn.functional as F

        if self.rules.pool == "average":
            return F.avg_pool2d(x, POOL, POOL, ceil_mode=True)
        return F.max_pool2d(x, POOL, POOL, ceil_mode=self.rules.pool != "floor")

    def upsample(self, x: Any, like: Any) -> Any:
        import torch.nn.functional as F

        size, mode = like.shape[2:], self.rules.resize
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
        return block.run(_Ops(getattr(self.scope, block.path), self.rules), x)


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
