"""A network's kernels in integers, fitted one by one to what photographs make of them, in the order of execution.

Every unit is given what the units before it answer in integers, and is fitted to what it should answer exactly: what
they got wrong is partly mended, and no error of the mean is passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from u2net_zoo.arch import STEM, Unit
from u2net_zoo.checkpoint import Checkpoint

from ..progress import report
from .error_feedback import Moments, fitted
from .integer_network import FEATURES, SIGNED, IntegerNetwork, IntegerUnit, Recipe, Steps
from .integer_walk import IntegerWalk, Maps, as_mask

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Fit", "fit"]

# Measured on u2netp and the 18 photographs, all maps in int8, 2026-11-26, mean IoU: 0.936 with a pull of 0.001, 0.946
# with 0.01, 0.953 with 0.1; kernels rounded one by one, with the same biases 0.929; with those of float32 0.27.
PULL = 0.1
SAMPLES = 20_000  # places of all photographs together at which a unit is looked at
SATURATED = 8.0  # logits: beyond it a mask is 0 or 1 within a tenth of a grey level


@dataclass(frozen=True)
class Fit:
    """A network in integers and what was found on the way to it.

    Attributes:
        recipe: which it was fitted by.
        masks: d0 of each picture, (out_ch, H, W), as `integer_walk.masks` computes it.
        reach: how far logits go in float32, by path.
    """

    network: IntegerNetwork
    recipe: Recipe
    masks: tuple[np.ndarray, ...]
    reach: Mapping[str, float]


def fit(
    level: Checkpoint, pictures: Sequence[np.ndarray], image: Steps, recipe: Recipe, before: Fit | None = None
) -> Fit:
    """`level` in integers.

    Args:
        level: folded and equalised on `pictures`.
        pictures: (1, C, H, W) float32 each, as the network takes them.
        image: the steps on which they are given.
        before: a fit of the same by another recipe: units that run before the recipes differ are taken from it.
    """
    import torch

    walk = _FitWalk(level, recipe, before)
    inputs = [torch.from_numpy(x) for x in pictures]
    with torch.inference_mode():
        reach = before.reach if before else walk.measured_logits(inputs)
        walk.reach = reach
        given = Maps([walk.whole(x, image) for x in inputs], image, tuple(inputs))
        logits = level.arch.run(walk, given)[0].whole
        found = tuple(as_mask(each, level.arch) for each in logits)
    return Fit(IntegerNetwork(level.arch, walk.found, image), recipe, found, reach)


class _FitWalk(IntegerWalk):
    """The walk with maps that are exact and whole at once.

    Attributes:
        found: the units so far, by path.
        reach: of the logits, by path: the sides' and the fusion's; of the stem.
        known: units of the fit before, as long as it is the same fit.
    """

    def __init__(self, level: Checkpoint, recipe: Recipe, before: Fit | None):
        super().__init__(self._fitted)
        self.level, self.recipe = level, recipe
        self.found: dict[str, IntegerUnit] = {}
        self.reach: Mapping[str, float] = {}
        self.known: Mapping[str, IntegerUnit] = before.network.units if before else {}
        self.other = before.recipe.finer ^ recipe.finer if before else frozenset()
        self.units_in_all = len(level.arch.units())

    def measured_logits(self, inputs: "Sequence[Tensor]") -> dict[str, float]:
        """How far what no ReLU follows goes, exactly."""
        exact = _Exact(self)
        for x in inputs:
            self.level.arch.run(exact, x)
        sides = [unit.path for unit in self.level.arch.sides]
        most = max(exact.reach[path] for path in sides)  # they are concatenated, so they share their steps
        return exact.reach | dict.fromkeys(sides, most)

    def exact_parameters(self, unit: Unit) -> "tuple[Tensor, Tensor]":
        leaves = (self.level.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
        kernel, bias = map(self.torch.from_numpy, leaves)
        return kernel.contiguous(memory_format=self.torch.channels_last), bias

    def conv(self, unit: Unit, x: Maps) -> Maps:
        kernel, bias = self.exact_parameters(unit)
        self.exact = [self.convolved(unit, each, kernel, bias) for each in x.exact]
        whole = super().conv(unit, x)
        return Maps(whole.whole, whole.steps, tuple(y.relu() if unit.relu else y for y in self.exact))

    def _fitted(self, unit: Unit, x: Maps) -> IntegerUnit:
        if unit.path in self.other:
            self.known = {}
        self.found[unit.path] = self.known.get(unit.path) or self._fit(unit, x)
        return self.found[unit.path]

    def _fit(self, unit: Unit, x: Maps) -> IntegerUnit:
        report(f"fitting layers {100 * len(self.found) // self.units_in_all} %")
        kind, copies = self.recipe.kind(unit), self.recipe.copies(unit)
        given = x.steps.as_kind(kind)
        kernel = self.exact_parameters(unit)[0].numpy()
        pairs = zip(self.stepped(x, given).whole, self.exact, strict=True)
        moments = Moments.of(*_samples(unit, list(pairs)))
        flat = kernel.reshape(len(kernel), -1).astype(np.float64)
        codes, scale, bias = fitted(flat, moments, PULL, copies)
        whole = codes.reshape(kernel.shape)
        return IntegerUnit(_split(whole, copies), scale, bias, given, self._answered(unit, kind), copies)

    def _answered(self, unit: Unit, kind: str) -> Steps:
        if unit.relu:
            return FEATURES[kind]
        reach = max(self.reach[unit.path], 1e-6)
        last = unit.path == self.level.arch.heads[-1].path or not self.level.arch.fused
        if unit.name != STEM and last and self.level.arch.final == "sigmoid":
            reach = min(reach, SATURATED)  # not of sides that are fused: a large one outweighs others
        return Steps.between(-reach, reach * SIGNED, kind)


class _Exact:
    """The plain walk, which notes how far what no ReLU follows goes."""

    def __init__(self, walk: _FitWalk):
        self.walk = walk
        self.reach: dict[str, float] = {}

    def conv(self, unit: Unit, x: "Tensor") -> "Tensor":
        y = self.walk.convolved(unit, x, *self.walk.exact_parameters(unit))
        if unit.relu:
            return y.relu_()
        self.reach[unit.path] = max(self.reach.get(unit.path, 0.0), float(y.abs().max()))
        return y

    def pool(self, x: "Tensor") -> "Tensor":
        return self.walk.pool(Maps([x], FEATURES["int8"])).whole[0]

    def upsample(self, x: "Tensor", like: "Tensor") -> "Tensor":
        return self.walk.F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)

    def concat(self, *maps: "Tensor") -> "Tensor":
        return self.walk.torch.cat(maps, dim=1)

    def add(self, a: "Tensor", b: "Tensor") -> "Tensor":
        return a + b

    def block(self, block: Any, x: "Tensor") -> "Tensor":
        return block.run(self, x)


def _split(codes: np.ndarray, copies: int) -> np.ndarray:
    """(O, I, h, w) codes up to 127 · copies as (O, copies · I, h, w) int8: nearly equal parts that add up to them."""
    parts = [(codes + n) // copies for n in range(copies)]
    return np.concatenate(parts, axis=1).astype(np.int8)


def _samples(unit: Unit, pairs: "Sequence[tuple[Tensor, Tensor]]") -> tuple[np.ndarray, np.ndarray]:
    """((K, n) inputs of the kernel, (O, n) exact answers) at places drawn evenly over the photographs."""
    import torch

    dice = torch.Generator().manual_seed(0)
    each = max(SAMPLES // len(pairs), 1)
    inputs, answers = [], []
    for given, exact in pairs:
        height, width = exact.shape[2:]
        places = torch.randperm(height * width, generator=dice)[:each]
        padded = torch.nn.functional.pad(given, (unit.padding,) * 4)
        rows, columns = places // width * unit.stride, places % width * unit.stride
        taps = [
            padded[0][:, rows + a * unit.dilation, columns + b * unit.dilation]
            for a in range(unit.kernel)
            for b in range(unit.kernel)
        ]
        inputs.append(torch.stack(taps, 1).flatten(0, 1))
        answers.append(exact[0].flatten(1)[:, places])
    return torch.cat(inputs, 1).numpy(), torch.cat(answers, 1).numpy()
