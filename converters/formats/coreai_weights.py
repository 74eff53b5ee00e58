"""Rounded kernels as Core AI stores them: palettes with indices of few bits, or int8 with a scale for each channel.

The kernels are rounded already, so nothing is searched here: their values are listed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..quantise.mixed_precision import Plan
from ..quantise.rounding import int8_codes

if TYPE_CHECKING:
    from torch import nn

__all__ = ["compress"]

BITS = (1, 2, 4, 6, 8)  # of indices; of 3 the converter has none


def compress(network: "nn.Module", plan: Plan) -> None:
    """Replaces the convolutions of `network`, the folded model of `plan.checkpoint`, whose kernels were rounded."""
    for unit in plan.checkpoint.arch.units():
        if unit.path in plan.rounded:
            parent, _, name = unit.conv_path.rpartition(".")
            conv = network.get_submodule(unit.conv_path)
            setattr(network.get_submodule(parent), name, _compressed(conv, plan.scheme))


def table_of(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(indices uint8 of the kernel's shape, table (1, 1, 1, 1, 2^bits, 1) float16); at most 256 values."""
    values, places = np.unique(kernel, return_inverse=True)
    bits = next(bits for bits in BITS if len(values) <= 1 << bits)
    table = np.pad(values, (0, (1 << bits) - len(values)), mode="edge")
    return places.reshape(kernel.shape).astype(np.uint8), table.astype(np.float16).reshape(1, 1, 1, 1, -1, 1)


def _compressed(conv: Any, scheme: str) -> "nn.Module":
    """A convolution whose kernel is computed from `scheme`'s integers, in float16."""
    import coreai_torch._compression.custom_layers  # noqa: F401 - registers the operations
    import torch
    import torch.nn.functional as F
    from torch import nn

    kernel = conv.weight.detach().numpy()

    class Compressed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = conv.bias
            if scheme == "int8":
                codes, scale = int8_codes(kernel)
                self.register_buffer("codes", torch.from_numpy(codes))
                self.register_buffer("scale", torch.from_numpy(scale.reshape(-1, 1, 1, 1)).half())
            else:
                indices, table = table_of(kernel)
                self.register_buffer("indices", torch.from_numpy(indices))
                self.register_buffer("lut", torch.from_numpy(table))

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            ops = torch.ops.coreai
            if scheme == "int8":
                weight = ops.constexpr_blockwise_shift_scale(
                    self.codes, self.scale, None, None, torch.int8, torch.float16
                )
            else:
                weight = ops.lut_to_dense(self.indices, self.lut, 0)
            return F.conv2d(x, weight, self.bias, conv.stride, conv.padding, conv.dilation)

    return Compressed()
