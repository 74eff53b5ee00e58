"""What rounding a layer's kernel costs, measured on photographs, one layer at a time, in Torch.

The walk of the network is recorded once for each photograph. With one kernel changed only what depends on it is
computed anew: everything before it, and every branch beside it, is taken from the record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL, RSU, Architecture, Unit
from u2net_zoo.checkpoint import Checkpoint

from ..proof import MaskErrors
from .equalise import RSU_ENDS

__all__ = ["Bench", "LayerCost"]


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


class _Replay:
    """Torch's arithmetic with a record of the last full walk.

    half: round every result to float16, as an ML Program in float16 does.
    grid: step of 8-bit feature maps; units that are changed take and give such maps.
    """

    def __init__(self, parameters: Mapping[str, tuple[Any, Any]], half: bool, grid: float | None = None):
        import torch

        self.torch, self.F = torch, torch.nn.functional
        self.parameters = parameters
        self.half = half
        self.grid = grid
        self.work: dict[str, int] = {}
        self.changed: Mapping[str, Any] = {}
        self.tape: list[tuple[tuple[Any, ...], Any]] = []
        self.place: int | None = None  # on the tape; None while it is recorded

    def record(self, arch: Architecture, x: Any) -> Any:
        """The logits of the mask; everything on the way is kept."""
        self.place, self.tape = None, []
        return arch.run(self, x)[0]

    def again(self, arch: Architecture, x: Any, changed: Mapping[str, Any]) -> Any:
        """The logits with `changed` (unit path -> kernel), from the record as far as it holds."""
        self.changed, self.place = changed, 0
        try:
            return arch.run(self, x)[0]
        finally:
            self.changed = {}

    def plain(self, arch: Architecture, x: Any) -> Any:
        """The logits; nothing is kept."""
        self.place, self.tape = -1, []
        return arch.run(self, x)[0]

    def step(self, compute: Callable[..., Any], *inputs: Any, anew: bool = False) -> Any:
        if self.place == -1:
            return self._rounded(compute(*inputs))
        if self.place is None:
            result = self._rounded(compute(*inputs))
            self.tape.append((inputs, result))
            return result
        before, result = self.tape[self.place]
        self.place += 1
        if not anew and all(a is b for a, b in zip(before, inputs, strict=True)):
            return result
        return self._rounded(compute(*inputs))

    def _rounded(self, x: Any) -> Any:
        return x.half().float() if self.half else x

    def conv(self, unit: Unit, x: Any) -> Any:
        kernel, bias = self.parameters[unit.path]
        kernel = self.changed.get(unit.path, kernel)

        anew = unit.path in self.changed

        def compute(x: Any) -> Any:
            y = self.F.conv2d(self._in_bytes(x, anew), kernel, bias, unit.stride, unit.padding, unit.dilation)
            self.work[unit.path] = kernel.numel() * y.shape[2] * y.shape[3]
            return self._in_bytes(y.relu_() if unit.relu else y, anew)

        return self.step(compute, x, anew=anew)

    def _in_bytes(self, x: Any, changed: bool) -> Any:
        return (x / self.grid).round_().clamp_(0, 255) * self.grid if self.grid and changed else x

    def pool(self, x: Any) -> Any:
        return self.step(lambda x: self.F.max_pool2d(x, POOL, POOL, ceil_mode=True), x)

    def upsample(self, x: Any, like: Any) -> Any:
        size = like.shape[2:]
        return self.step(lambda x: self.F.interpolate(x, size=size, mode="bilinear", align_corners=False), x)

    def concat(self, *maps: Any) -> Any:
        return self.step(lambda *maps: self.torch.cat(maps, dim=1), *maps)

    def add(self, a: Any, b: Any) -> Any:
        return self.step(lambda a, b: a + b, a, b)

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(self, x)


class _Reach(_Replay):
    """Notes how far every unit's channels reach, and every block's: its first and last unit and their sum."""

    found: dict[str, np.ndarray]

    def plain(self, arch: Architecture, x: Any) -> Any:
        self.found = getattr(self, "found", {})
        return super().plain(arch, x)

    def _note(self, path: str, x: Any) -> None:
        self.found[path] = np.maximum(self.found.get(path, 0), x.amax((0, 2, 3)).numpy())

    def conv(self, unit: Unit, x: Any) -> Any:
        y = super().conv(unit, x)
        self._note(unit.path, y)
        if unit.name in RSU_ENDS:
            self._note(unit.scope, y)
        return y

    def block(self, block: RSU, x: Any) -> Any:
        y = super().block(block, x)
        self._note(block.path, y)
        return y


class Bench:
    """Masks of a checkpoint with some of its kernels replaced, beside its own in float32.

    Args:
        photographs: (1, C, H, W) float32 each.
        half: the arithmetic around the replaced kernels is float16; what it is compared with stays float32.
        grid: step of the 8-bit maps that units with a replaced kernel take and give; None: they stay as they are.
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
        folded = checkpoint.fold()
        self.arch = folded.arch
        self.inputs = [torch.from_numpy(x).contiguous(memory_format=torch.channels_last) for x in photographs]
        self.kernels = {unit.path: folded.state[f"{unit.conv_path}.weight"] for unit in self.arch.units()}
        biases = {unit.path: torch.from_numpy(folded.state[f"{unit.conv_path}.bias"]) for unit in self.arch.units()}
        tensors = {path: (self.tensor(kernel), biases[path]) for path, kernel in self.kernels.items()}
        exact = _Replay(tensors, half=False)
        with torch.inference_mode():
            self.masks = [self._mask(exact.plain(self.arch, x)) for x in self.inputs]
        halves = {path: (kernel.half().float(), bias.half().float()) for path, (kernel, bias) in tensors.items()}
        self.replay = _Replay(halves if half else tensors, half, grid)

    def tensor(self, kernel: np.ndarray) -> Any:
        return self.torch.from_numpy(kernel).contiguous(memory_format=self.torch.channels_last)

    def errors(self, kernels: Mapping[str, np.ndarray]) -> MaskErrors:
        """With all of `kernels` (unit path -> OIHW) in place at once."""
        parameters = {
            path: (self.tensor(kernels[path]) if path in kernels else kernel, bias)
            for path, (kernel, bias) in self.replay.parameters.items()
        }
        trial = _Replay(parameters, self.replay.half)
        with self.torch.inference_mode():
            masks = [self._mask(trial.plain(self.arch, x)) for x in self.inputs]
        return MaskErrors.of(list(zip(masks, self.masks, strict=True)))

    def costs(self, kernels: Mapping[str, np.ndarray], done: Callable[[], None] = lambda: None) -> list[LayerCost]:
        """With each of `kernels` in place alone; `done` is called after every layer of every photograph."""
        changed = {path: {path: self.tensor(kernel)} for path, kernel in kernels.items()}
        pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {path: [] for path in kernels}
        with self.torch.inference_mode():
            for x in self.inputs:
                before = self._mask(self.replay.record(self.arch, x))
                for path, change in changed.items():
                    pairs[path].append((self._mask(self.replay.again(self.arch, x, change)), before))
                    done()
        found = {path: MaskErrors.of(of_layer) for path, of_layer in pairs.items()}
        work = self.replay.work
        return [LayerCost(path, kernels[path].size, work[path], e.mae, e.iou) for path, e in found.items()]

    def reach(self) -> dict[str, np.ndarray]:
        """The largest value of each channel (C,) over the photographs, by unit path; see `equalise.equalised`."""
        watch = _Reach(self.replay.parameters, half=False)
        with self.torch.inference_mode():
            for x in self.inputs:
                watch.plain(self.arch, x)
        return watch.found

    def _mask(self, logits: Any) -> np.ndarray:
        return (self.torch.sigmoid(logits) if self.arch.final == "sigmoid" else logits)[0].numpy()
