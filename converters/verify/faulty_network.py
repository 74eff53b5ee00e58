"""The Torch network with faults on purpose: what a converted file would answer that has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL, RSU, Architecture, Unit
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.preprocessing import PROFILES, Profile

from ..predictor import Outputs

__all__ = ["FaultyNetwork", "FaultyOps", "Sample"]


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
        dtype: Torch's name of the type that every operation's result is rounded to; sums are made in float32, as most
            runtimes make them. Torch's own float16 takes 120 s for full-size u2net where a processor has none, this
            less than a second (2026-11-26).
        weights: checkpoint -> the checkpoint that the file holds instead.
        feed: sample -> the input instead of its `x`.
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
        return self.finished(checkpoint.arch, self.logits(checkpoint, sample, model))

    def logits(self, checkpoint: Checkpoint, sample: Sample, model: Any = None) -> list[np.ndarray]:
        """What `finished` takes: the maps before the final activation, (N, out_ch, H, W) float32."""
        import torch

        from u2net_zoo import torch_model

        if model is None or self.weights or self.dtype != "float32":
            model = torch_model.build(self.weights(checkpoint) if self.weights else checkpoint)
        model = model.to(getattr(torch, self.dtype)).float()  # nothing is copied where it is float32 already
        x = np.ascontiguousarray(self.feed(sample) if self.feed else sample.x, np.float32)
        with torch.inference_mode():
            maps = checkpoint.arch.run(FaultyOps(model, self), self.rounded(torch.from_numpy(x)))
        return [each.numpy() for each in maps]

    def finished(self, arch: Architecture, logits: Sequence[np.ndarray]) -> Outputs:
        """The file's maps, after its activation and whatever else is done to them: name -> (N, out_ch, H, W)."""
        import torch

        maps = dict(zip(arch.outputs, logits, strict=True))
        if (self.final or arch.final) == "sigmoid":
            maps = {name: self.rounded(torch.sigmoid(torch.from_numpy(x))).numpy() for name, x in maps.items()}
        return {name: self.answer(x) for name, x in maps.items()} if self.answer else maps

    def rounded(self, x: Any) -> Any:
        """A float32 tensor, rounded to `dtype`."""
        import torch

        return x if self.dtype == "float32" else x.to(getattr(torch, self.dtype)).float()

    def changed(self) -> set[str]:
        """Names of the rules that are not the right ones."""
        right = FaultyNetwork()
        return {name for name in vars(right) if getattr(self, name) != getattr(right, name)}

    def and_(self, other: "FaultyNetwork") -> "FaultyNetwork":
        """Both faults; where both bend the same rule, the other's."""
        return replace(self, **{name: getattr(other, name) for name in other.changed()})


class FaultyOps:
    """Torch's arithmetic under `rules`; `scope` holds the modules by name."""

    def __init__(self, scope: Any, rules: FaultyNetwork):
        self.scope = scope
        self.rules = rules

    def conv(self, unit: Unit, x: Any) -> Any:
        import torch
        import torch.nn.functional as F

        module = getattr(self.scope, unit.name)
        for part in module if isinstance(module, torch.nn.Sequential) else [module]:
            if isinstance(part, torch.nn.Conv2d) and unit.dilation != 1 and not self.rules.dilation:
                x = F.conv2d(x, part.weight, part.bias, padding=1)
            else:
                x = part(x)
            x = self.rules.rounded(x)
        return x

    def pool(self, x: Any) -> Any:
        import torch.nn.functional as F

        if self.rules.pool == "average":
            return self.rules.rounded(F.avg_pool2d(x, POOL, POOL, ceil_mode=True))
        return F.max_pool2d(x, POOL, POOL, ceil_mode=self.rules.pool != "floor")

    def upsample(self, x: Any, like: Any) -> Any:
        import torch.nn.functional as F

        size, mode = like.shape[2:], self.rules.resize
        if mode == "nearest":
            return F.interpolate(x, size=size, mode="nearest")
        if mode == "origin":
            return self.rules.rounded(_resize_from_origin(x, size))
        return self.rules.rounded(F.interpolate(x, size=size, mode="bilinear", align_corners=mode == "corners"))

    def concat(self, *maps: Any) -> Any:
        import torch

        return torch.cat(maps, dim=1)

    def add(self, a: Any, b: Any) -> Any:
        return self.rules.rounded(a + b)

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(FaultyOps(getattr(self.scope, block.path), self.rules), x)


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
