"""A checkpoint in float64 at the speed of matrix products: the yardstick of every proof.

Torch's own float64 convolution spreads each input out nine times in fresh memory: u2netp at 320x320 took 4.3 to 7.4 s
of two processors for a picture, most of it spent on touching new pages; the same sums here take 0.7 s (2026-11-26).
A map is worked on in bands of rows that stay in the processor's cache. Of a band the taps of a kernel's row are laid
side by side, and each row of the kernel is one matrix product, added to what the rows before it gave.

The order of operations is the authors': convolution, bias, batch norm, ReLU; nothing is folded.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from u2net_zoo.arch import BN_EPS, POOL, RSU, Architecture, Unit
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import MissingExtraError

from ..predictor import Outputs, Predictor

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Float64Network", "Stopped"]

BAND = 4 << 20  # bytes of laid out taps; 1 MiB took a tenth more processor time, 2 to 8 the same (u2netp, 2026-11-26)


class Stopped(Exception):  # noqa: N818 - no error: nobody wants the answer any more
    """The computation was given up."""


class Float64Network(Predictor):
    """Runs `checkpoint` in float64, one picture after the other. Takes and answers what `TorchPredictor` does.

    Args:
        stopped: asked before every convolution; where it is true the call ends with `Stopped`.
    """

    def __init__(self, checkpoint: Checkpoint, stopped: Callable[[], bool] = lambda: False):
        if find_spec("torch") is None:
            raise MissingExtraError("the float64 reference, which every conversion is compared with,", "torch", "torch")
        self.checkpoint, self.stopped = checkpoint, stopped
        self.outputs = checkpoint.arch.outputs

    def compute(self, x: np.ndarray) -> Outputs:
        return self._run(x, lambda unit, result: None)

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        found: dict[str, list[np.ndarray]] = {}
        self._run(x, lambda unit, result: found.setdefault(unit.path, []).append(result.numpy().copy()))
        return ((path, np.stack(values)) for path, values in found.items())

    def _run(self, x: np.ndarray, seen: "Callable[[Unit, Tensor], None]") -> Outputs:
        import torch

        arch = self.checkpoint.arch
        answers = []
        with torch.inference_mode(), _Workers() as workers:
            ops = _Arithmetic(self.checkpoint, workers, self.stopped, seen)
            for picture in x:
                maps = arch.run(ops, torch.tensor(picture, dtype=torch.float64))
                answers.append([torch.sigmoid(m).numpy() if arch.final == "sigmoid" else m.numpy() for m in maps])
        return {name: np.stack(each) for name, each in zip(self.outputs, zip(*answers, strict=True), strict=True)}


class _Workers:
    """As many threads as Torch has, each of which computes alone: bands need not wait for each other.

    Where Torch has one, there are none: a process without other threads stays one that can be forked.
    """

    def __enter__(self) -> "_Workers":
        import torch

        self.count, self.own = torch.get_num_threads(), threading.local()
        self.pool = ThreadPoolExecutor(self.count, initializer=torch.set_num_threads, initargs=(1,))
        if self.count > 1:
            ready = threading.Barrier(self.count)
            list(self.pool.map(lambda _: ready.wait(), range(self.count)))  # all have started …
            torch.set_num_threads(self.count)  # … and new threads of others get their usual share again
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def each(self, work: Callable[[int], None], starts: range) -> None:
        """`work` of every start; of a single one here, with all of Torch's threads."""
        list(self.pool.map(work, starts) if self.count > 1 and len(starts) > 1 else map(work, starts))

    def scratch(self, size: int) -> "Tensor":
        """`size` float64 values of this thread's own: new memory for each band would cost as much as its products."""
        import torch

        if getattr(self.own, "memory", None) is None or len(self.own.memory) < size:
            self.own.memory = torch.empty(size, dtype=torch.float64)
        memory: Tensor = self.own.memory
        return memory[:size]


class _Arithmetic:
    """Ops of a walk over maps (C, H, W) in float64; maps that are joined stay apart until they are laid out."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        workers: _Workers,
        stopped: Callable[[], bool],
        seen: "Callable[[Unit, Tensor], None]",
    ):
        self.state, self.workers, self.stopped, self.seen = checkpoint.state, workers, stopped, seen

    def conv(self, unit: Unit, x: Any) -> "Tensor":
        if self.stopped():
            raise Stopped
        result = _Convolution.of(unit, self.state, x if isinstance(x, tuple) else (x,)).run(self.workers)
        self.seen(unit, result)
        return result

    def pool(self, x: "Tensor") -> "Tensor":
        import torch.nn.functional as F

        return F.max_pool2d(x[None], POOL, POOL, ceil_mode=True)[0]

    def upsample(self, x: "Tensor", like: "Tensor") -> "Tensor":
        import torch.nn.functional as F

        return F.interpolate(x[None], size=like.shape[1:], mode="bilinear", align_corners=False)[0]

    def concat(self, *maps: "Tensor") -> "tuple[Tensor, ...]":
        return maps

    def add(self, a: "Tensor", b: "Tensor") -> "Tensor":
        return a.add_(b)  # `a` comes from a convolution and has no other reader

    def block(self, block: RSU, x: Any) -> "Tensor":
        result: Tensor = block.run(self, x)
        return result


@dataclass(frozen=True)
class _Convolution:
    """One unit over the channels of `maps`, (C, H, W) each.

    Attributes:
        taps: (kernel rows, O, kernel columns * C), float64.
        bias: (O, 1).
        norm: scale and shift, (O, 1) each; none where no norm follows. They are gamma / sqrt(var + eps) and
            beta - mean * scale, as Torch's own batch norm works them out for each channel.
    """

    unit: Unit
    maps: "tuple[Tensor, ...]"
    taps: "Tensor"
    bias: "Tensor"
    norm: "tuple[Tensor, ...]"

    @classmethod
    def of(cls, unit: Unit, state: Any, maps: "tuple[Tensor, ...]") -> "_Convolution":
        import torch

        def column(path: str) -> "Tensor":
            return torch.tensor(state[path], dtype=torch.float64)[:, None]

        kernel = torch.tensor(state[f"{unit.conv_path}.weight"], dtype=torch.float64)
        taps = kernel.permute(2, 0, 3, 1).reshape(unit.kernel, unit.out_ch, unit.kernel * unit.in_ch)
        norm: tuple[Tensor, ...] = ()
        if unit.norm:
            gamma, beta, mean, var = (
                column(f"{unit.norm_path}.{leaf}") for leaf in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gamma / torch.sqrt(var + BN_EPS)
            norm = (scale, beta - mean * scale)
        return cls(unit, maps, taps, column(f"{unit.conv_path}.bias"), norm)

    def run(self, workers: _Workers) -> "Tensor":
        """(O, h, w)."""
        import torch

        unit = self.unit
        reach = unit.dilation * (unit.kernel - 1) - 2 * unit.padding
        height, width = ((side - reach - 1) // unit.stride + 1 for side in self.maps[0].shape[1:])
        result = torch.empty(unit.out_ch, height, width, dtype=torch.float64)
        rows = self._rows(height, width, workers.count)

        def band(start: int) -> None:
            with torch.inference_mode():  # of this thread
                self._band(result, start, min(height, start + rows), workers)

        workers.each(band, range(0, height, rows))
        return result

    def _rows(self, height: int, width: int, threads: int) -> int:
        """Of a band: as many as fit into `BAND`, at least what a kernel spans; equally many for each thread."""
        unit = self.unit
        fit = BAND // (8 * unit.kernel * unit.in_ch * width * unit.stride)
        bands = -(-height // max(1, 2 * unit.padding, fit))
        return -(-height // (-(-bands // threads) * threads)) if bands > 1 else height

    def _band(self, result: "Tensor", start: int, end: int, workers: _Workers) -> None:
        """Rows `start` to `end` of the result."""
        unit, width = self.unit, result.shape[2]
        part = result.view(unit.out_ch, -1)[:, start * width : end * width]
        laid = self._laid_out(start, end, width, workers)
        for row, taps in enumerate(self.taps):
            top = row * unit.dilation
            seen = laid[:, :, top : top + (end - start - 1) * unit.stride + 1 : unit.stride]
            columns = seen.reshape(unit.kernel * unit.in_ch, (end - start) * width)  # a copy with a stride alone
            part.addmm_(taps, columns, beta=float(row > 0))
        part.add_(self.bias)
        if self.norm:
            scale, shift = self.norm
            part.mul_(scale).add_(shift)
        if unit.relu:
            part.relu_()

    def _laid_out(self, start: int, end: int, width: int, workers: _Workers) -> "Tensor":
        """(kernel columns, C, rows, width): what each column of the kernel meets, with zeros around the map."""
        unit, (height, wide) = self.unit, self.maps[0].shape[1:]
        top, bottom = start * unit.stride - unit.padding, (end - 1) * unit.stride + unit.padding + 1
        first, last = max(0, top), min(height, bottom)
        shape = (unit.kernel, unit.in_ch, bottom - top, width)
        laid = workers.scratch(int(np.prod(shape))).view(shape)
        laid[:, :, : first - top].zero_()
        laid[:, :, last - top :].zero_()
        for column in range(unit.kernel):
            shift = column * unit.dilation - unit.padding
            left = min(width, max(0, -(shift // unit.stride)))
            right = max(left, min(width, (wide - 1 - shift) // unit.stride + 1))
            laid[column, :, :, :left].zero_()
            laid[column, :, :, right:].zero_()
            met = slice(left * unit.stride + shift, max(0, (right - 1) * unit.stride + shift + 1), unit.stride)
            inside = laid[column, :, first - top : last - top, left:right]
            if right > left:
                channel = 0
                for each in self.maps:
                    inside[channel : channel + len(each)] = each[:, first:last, met]
                    channel += len(each)
        return laid
