"""What rounding a layer's kernel costs, measured on photographs, one layer at a time, in Torch.

The walk of the network is recorded once for each photograph. With one kernel changed only what depends on it is
computed anew: everything before it, and every branch beside it, is taken from the record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo.arch import POOL, RSU, Architecture, Unit
from u2net_zoo.checkpoint import Checkpoint

from ..mask_errors import MaskErrors
from .equalise import RSU_ENDS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LayerCost", "SensitivityAnalysis"]


@dataclass(frozen=True)
class LayerCost:
    """What one layer's rounding does to the masks when all other layers are left alone.

    Attributes:
        path: of the unit.
        size: of its kernel: how many weights.
        work: multiplications at the size at which it was measured.
        mae: mean absolute difference of the masks, relative to the output's range where that is over 1.
        iou: mean IoU at 0.5 of the masks.
    """

    path: str
    size: int
    work: int
    mae: float
    iou: float


class _Walk:
    """Torch's arithmetic for the network's walk, with nothing kept.

    Args:
        parameters: (kernel, bias) by unit path.
        half: round every result to float16, as an ML Program in float16 does.
    """

    def __init__(self, parameters: "Mapping[str, tuple[Tensor, Tensor]]", half: bool = False):
        import torch

        self.torch, self.F = torch, torch.nn.functional
        self.parameters = parameters
        self.half = half

    def logits(self, arch: Architecture, x: "Tensor") -> "Tensor":
        """Of the mask."""
        return arch.run(self, x)[0]

    def step(self, compute: "Callable[..., Tensor]", *inputs: "Tensor") -> "Tensor":
        """The result of one operation."""
        result = compute(*inputs)
        return result.half().float() if self.half else result

    def convolved(self, unit: Unit, x: "Tensor", kernel: "Tensor", bias: "Tensor | None" = None) -> "Tensor":
        bias = self.parameters[unit.path][1] if bias is None else bias
        y = self.F.conv2d(x, kernel, bias, unit.stride, unit.padding, unit.dilation)
        return y.relu_() if unit.relu else y

    def conv(self, unit: Unit, x: "Tensor") -> "Tensor":
        kernel, _ = self.parameters[unit.path]
        return self.step(lambda x: self.convolved(unit, x, kernel), x)

    def pool(self, x: "Tensor") -> "Tensor":
        return self.step(lambda x: self.F.max_pool2d(x, POOL, POOL, ceil_mode=True), x)

    def upsample(self, x: "Tensor", like: "Tensor") -> "Tensor":
        size = like.shape[2:]
        return self.step(lambda x: self.F.interpolate(x, size=size, mode="bilinear", align_corners=False), x)

    def concat(self, *maps: "Tensor") -> "Tensor":
        return self.step(lambda *maps: self.torch.cat(maps, dim=1), *maps)

    def add(self, a: "Tensor", b: "Tensor") -> "Tensor":
        return self.step(lambda a, b: a + b, a, b)

    def block(self, block: RSU, x: "Tensor") -> "Tensor":
        return block.run(self, x)


class _Recording(_Walk):
    """A walk that is kept.

    Attributes:
        tape: (inputs, result) of every step, in order.
        work: multiplications of every unit, by its path.
    """

    def __init__(self, parameters: "Mapping[str, tuple[Tensor, Tensor]]", half: bool):
        super().__init__(parameters, half)
        self.tape: list[tuple[tuple[Tensor, ...], Tensor]] = []
        self.work: dict[str, int] = {}

    def step(self, compute: "Callable[..., Tensor]", *inputs: "Tensor") -> "Tensor":
        result = super().step(compute, *inputs)
        self.tape.append((inputs, result))
        return result

    def conv(self, unit: Unit, x: "Tensor") -> "Tensor":
        y = super().conv(unit, x)
        self.work[unit.path] = self.parameters[unit.path][0].numel() * y.shape[2] * y.shape[3]
        return y


class _Replay(_Walk):
    """The recorded walk again with other kernels: a step whose inputs are the recorded ones is taken from the record.

    Args:
        changed: the other kernels, by unit path; each with a bias, or with None where it stays.
        grid: step of the 8-bit maps that a changed unit takes and gives; None: its maps stay as they are.
    """

    def __init__(self, record: _Recording, changed: "Mapping[str, tuple[Tensor, Tensor | None]]", grid: float | None):
        super().__init__(record.parameters, record.half)
        self.recorded = iter(record.tape)
        self.changed, self.grid = changed, grid

    def step(self, compute: "Callable[..., Tensor]", *inputs: "Tensor") -> "Tensor":
        before, result = next(self.recorded)
        if all(a is b for a, b in zip(before, inputs, strict=True)):
            return result
        return super().step(compute, *inputs)

    def conv(self, unit: Unit, x: "Tensor") -> "Tensor":
        if unit.path not in self.changed:
            return super().conv(unit, x)
        next(self.recorded)
        changed = self.changed[unit.path]
        return super().step(lambda x: self._on_grid(self.convolved(unit, self._on_grid(x), *changed)), x)

    def _on_grid(self, x: "Tensor") -> "Tensor":
        """What no ReLU made, an image or logits, on 255 steps of its own reach."""
        if not self.grid:
            return x
        if (reach := float(-x.amin())) > 0:
            step = max(reach, float(x.amax())) / 127
            return (x / step).round_() * step
        return (x / self.grid).round_().clamp_(0, 255) * self.grid


class _Reach(_Walk):
    """Notes how far every unit's channels reach, and every block's: its first and last unit and their sum."""

    def __init__(self, parameters: "Mapping[str, tuple[Tensor, Tensor]]"):
        super().__init__(parameters)
        self.found: dict[str, np.ndarray] = {}

    def _note(self, path: str, x: "Tensor") -> None:
        self.found[path] = np.maximum(self.found.get(path, 0), x.amax((0, 2, 3)).numpy())

    def conv(self, unit: Unit, x: "Tensor") -> "Tensor":
        y = super().conv(unit, x)
        self._note(unit.path, y)
        if unit.name in RSU_ENDS:
            self._note(unit.scope, y)
        return y

    def block(self, block: RSU, x: "Tensor") -> "Tensor":
        y = super().block(block, x)
        self._note(block.path, y)
        return y


class SensitivityAnalysis:
    """Masks of a checkpoint with some of its kernels replaced, beside its own in float32.

    Args:
        photographs: (1, C, H, W) float32 each.
        half: the arithmetic around the replaced kernels is float16; what it is compared with stays float32.
        grid: step of the 8-bit maps that a unit whose kernel is replaced alone takes and gives; None: they stay.

    Attributes:
        inputs: the photographs as tensors.
        kernels: the folded network's own, by unit path.
        masks: its own in float32, one of each photograph.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        photographs: Sequence[np.ndarray],
        half: bool = False,
        grid: float | None = None,
    ):
        import torch

        self.torch = torch
        self.half, self.grid = half, grid
        folded = checkpoint.fold()
        self.arch = folded.arch
        self.inputs = [torch.from_numpy(x).contiguous(memory_format=torch.channels_last) for x in photographs]
        self.kernels = {unit.path: folded.state[f"{unit.conv_path}.weight"] for unit in self.arch.units()}
        biases = {unit.path: torch.from_numpy(folded.state[f"{unit.conv_path}.bias"]) for unit in self.arch.units()}
        tensors = {path: (self.tensor(kernel), biases[path]) for path, kernel in self.kernels.items()}
        self.masks = self._masks(_Walk(tensors))
        halves = {path: (kernel.half().float(), bias.half().float()) for path, (kernel, bias) in tensors.items()}
        self.parameters = halves if half else tensors

    def tensor(self, kernel: np.ndarray) -> "Tensor":
        return self.torch.from_numpy(kernel).contiguous(memory_format=self.torch.channels_last)

    def errors(self, kernels: Mapping[str, np.ndarray]) -> MaskErrors:
        """With all of `kernels` (unit path -> OIHW) in place at once."""
        parameters = {
            path: (self.tensor(kernels[path]) if path in kernels else kernel, bias)
            for path, (kernel, bias) in self.parameters.items()
        }
        masks = self._masks(_Walk(parameters, self.half))
        return MaskErrors.of(list(zip(masks, self.masks, strict=True)))

    def costs(
        self,
        kernels: Mapping[str, np.ndarray],
        done: Callable[[], None] = lambda: None,
        biases: Mapping[str, np.ndarray] | None = None,
    ) -> list[LayerCost]:
        """With each of `kernels` in place alone, and its bias where `biases` has one.

        Args:
            done: called after every layer of every photograph.
        """
        others = {path: self.torch.from_numpy(bias.astype(np.float32)) for path, bias in (biases or {}).items()}
        changed = {path: {path: (self.tensor(kernel), others.get(path))} for path, kernel in kernels.items()}
        pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {path: [] for path in kernels}
        work: dict[str, int] = {}
        with self.torch.inference_mode():
            for x in self.inputs:
                record = _Recording(self.parameters, self.half)
                before = self._mask(record, x)
                work = record.work
                for path, change in changed.items():
                    pairs[path].append((self._mask(_Replay(record, change, self.grid), x), before))
                    done()
        found = {path: MaskErrors.of(of_layer) for path, of_layer in pairs.items()}
        return [LayerCost(path, kernels[path].size, work[path], e.mae, e.iou) for path, e in found.items()]

    def reach(self) -> dict[str, np.ndarray]:
        """The largest value of each channel (C,) over the photographs, by unit path; see `equalise.equalised`."""
        walk = _Reach(self.parameters)
        self._masks(walk)
        return walk.found

    def _masks(self, walk: _Walk) -> list[np.ndarray]:
        with self.torch.inference_mode():
            return [self._mask(walk, x) for x in self.inputs]

    def _mask(self, walk: _Walk, x: "Tensor") -> np.ndarray:
        logits = walk.logits(self.arch, x)
        return (self.torch.sigmoid(logits) if self.arch.final == "sigmoid" else logits)[0].numpy()
