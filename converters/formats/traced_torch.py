"""What exporters trace: the folded Torch model, with a profile around it where a file takes pictures."""

from typing import TYPE_CHECKING, Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..embedded import EmbeddedPreprocessing, Ops, embedded_of
from ..options import Options

if TYPE_CHECKING:
    from torch import nn

__all__ = ["exportable", "torch_module"]


def torch_module(network: "nn.Module", embedded: EmbeddedPreprocessing, *, eight_bits: bool) -> "nn.Module":
    """`network` (d0 alone) between the two halves of `embedded`: (N, 3, H, W) pixels to (N, 1, H, W) grey levels.

    Args:
        eight_bits: uint8 goes in and comes out, truncated as the profile does. Otherwise both are float32, and what
            comes out is whole already, so that it does not matter how a runtime rounds (classes: int32).
    """
    import torch
    from torch import nn

    class WithPreprocessing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: "torch.Tensor") -> "torch.Tensor":
            ops = _torch_ops()
            x = embedded.before(ops, pixels.to(torch.float32) if eight_bits else pixels)
            levels = embedded.after(ops, self.network(x))
            if eight_bits:
                return levels.to(torch.uint8)
            return levels.to(torch.int32) if embedded.classes > 1 else levels.floor()

    return WithPreprocessing().eval()


def _torch_ops() -> Ops:
    import torch
    from torch import Tensor

    class TorchOps:
        def peak(self, x: Tensor) -> Tensor:
            return x.amax(dim=(1, 2, 3), keepdim=True)

        def trough(self, x: Tensor) -> Tensor:
            return x.amin(dim=(1, 2, 3), keepdim=True)

        def at_least(self, x: Tensor, low: float) -> Tensor:
            return x.clamp(min=low)

        def between(self, x: Tensor, low: float, high: float) -> Tensor:
            return x.clamp(low, high)

        def sigmoid(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x)

        def per_channel(self, values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).reshape(1, -1, 1, 1)

        def largest_channel(self, x: Tensor) -> Tensor:
            return x.argmax(dim=1, keepdim=True)

    return TorchOps()


def exportable(checkpoint: Checkpoint, options: Options, *, eight_bits: bool = True) -> Any:
    """The folded Torch model that tracing exporters take; with its profile around it for `--io image`."""
    from u2net_zoo import torch_model

    model = torch_model.build(checkpoint.fold(), outputs="all" if options.outputs == "all" else "mask")
    embedded = embedded_of(checkpoint.arch, options)
    return torch_module(model, embedded, eight_bits=eight_bits) if embedded else model
