"""The native Torch model, under the authors' module names."""

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .arch import BN_EPS, BN_MOMENTUM, POOL, RSU, Architecture, Unit
from .batch_norm import batch_norm
from .checkpoint import Checkpoint

__all__ = ["U2Net", "build", "fold", "state_of"]


class U2Net(nn.Module):
    """A network of the U²-Net family; its state dict has the authors' keys.

    Args:
        arch: what to build.
        outputs: `"all"`: the tuple (d0, d1, …) in training and in evaluation, as the authors' class returns it;
            `"mask"`: d0 alone in evaluation, still the whole tuple in training (deep supervision).

    Without a fusion (IS-Net) d1 is the mask and there is no d0.

    Call with x: (N, in_ch, H, W), any float dtype that the weights have, any N, H and W; normalised by a profile of
    `u2net_zoo.preprocessing`. Returns maps of shape (N, out_ch, H, W): in [0, 1] when `arch.final` is "sigmoid",
    logits otherwise.
    """

    def __init__(self, arch: Architecture, outputs: str = "all"):
        super().__init__()
        if outputs not in ("all", "mask"):
            raise ValueError(f"outputs {outputs!r}; allowed: 'all', 'mask'")
        self.arch = arch
        self.outputs = outputs
        for block in arch.blocks:
            self.add_module(block.path, _Block(block))
        for unit in arch.singles:
            self.add_module(unit.name, _convolution(unit))

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        """(d0, d1, …) before the final activation."""
        return self.arch.run(_TorchOps(self), x)

    def forward(self, x: Tensor) -> Any:
        maps = self.logits(x)
        if self.arch.final == "sigmoid":
            maps = tuple(torch.sigmoid(m) for m in maps)
        return maps[0] if self.outputs == "mask" and not self.training else maps


class _Block(nn.Module):
    """An RSU block; callable by itself."""

    def __init__(self, spec: RSU):
        super().__init__()
        self.spec = spec
        for unit in spec.units:
            self.add_module(unit.name, _Unit(unit))

    def forward(self, x: Tensor) -> Tensor:
        return self.spec.run(_TorchOps(self), x)


class _Unit(nn.Sequential):
    """Convolution, batch norm (none when folded), ReLU."""

    def __init__(self, unit: Unit):
        super().__init__()
        self.add_module("conv_s1", _convolution(unit))
        if unit.norm:
            self.add_module("bn_s1", nn.BatchNorm2d(unit.out_ch, eps=BN_EPS, momentum=BN_MOMENTUM))
        self.add_module("relu_s1", nn.ReLU(inplace=True))


def _convolution(unit: Unit) -> nn.Conv2d:
    return nn.Conv2d(unit.in_ch, unit.out_ch, unit.kernel, unit.stride, unit.padding, unit.dilation)


class _TorchOps:
    """Torch's arithmetic for the walks of `arch`; `scope` holds the modules by name."""

    def __init__(self, scope: nn.Module):
        self.scope = scope

    def conv(self, unit: Unit, x: Tensor) -> Tensor:
        return getattr(self.scope, unit.name)(x)

    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, POOL, POOL, ceil_mode=True)

    def upsample(self, x: Tensor, like: Tensor) -> Tensor:
        if not torch.jit.is_tracing():
            return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
        # A traced size would become a shape computation in the exported graph: export constants, factors if whole.
        height, width, *size = (int(n) for n in (*x.shape[2:], *like.shape[2:]))
        if size[0] % height or size[1] % width:
            return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
        factors = (float(size[0] // height), float(size[1] // width))
        return F.interpolate(x, scale_factor=factors, mode="bilinear", align_corners=False)

    def concat(self, *maps: Tensor) -> Tensor:
        return torch.cat(maps, dim=1)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def block(self, block: RSU, x: Tensor) -> Tensor:
        return getattr(self.scope, block.path)(x)


def build(
    checkpoint: Checkpoint, *, outputs: str = "all", dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> U2Net:
    """The model of `checkpoint` in evaluation mode. Its tensors are copies of the checkpoint's arrays."""
    with torch.device("meta"):
        model = U2Net(checkpoint.arch, outputs)
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in checkpoint.full_state().items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.to(device=device, dtype=dtype).eval()


def state_of(model: U2Net) -> Checkpoint:
    """The model's present weights as a checkpoint: float32, whatever float dtype the model has."""
    values = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    arrays = {key: (value.float() if value.is_floating_point() else value).numpy() for key, value in values.items()}
    return Checkpoint.from_state(arrays, arch=model.arch)


@torch.no_grad()
def fold(model: U2Net) -> U2Net:
    """A copy for inference with batch norm folded into the convolutions; `model` stays as it is.

    Of the same dtype and on the same device; computed in NumPy's float64 and rounded once, as `Checkpoint.fold` does.
    """
    if model.arch.folded:
        return copy.deepcopy(model).eval()
    with torch.device("meta"):
        folded = U2Net(model.arch.fold(), model.outputs)
    state: dict[str, Tensor] = {}
    for unit in model.arch.units():
        weight, bias = _fold_unit(model, unit)
        state |= {f"{unit.conv_path}.weight": weight, f"{unit.conv_path}.bias": bias}
    folded.load_state_dict(state, strict=True, assign=True)
    return folded.eval()


def _fold_unit(model: U2Net, unit: Unit) -> tuple[Tensor, Tensor]:
    """Kernel and bias, of the kernel's dtype and on its device."""
    conv: Any = model.get_submodule(unit.conv_path)
    if not unit.norm:
        return conv.weight.clone(), conv.bias.clone()
    norm: Any = model.get_submodule(unit.norm_path)
    values = (norm.weight, norm.bias, norm.running_mean, norm.running_var, conv.weight, conv.bias)
    *of_norm, weight, bias = (value.cpu().double().numpy() for value in values)
    kernel, bias = batch_norm(*of_norm).folded_into(weight, bias)
    return torch.from_numpy(kernel).to(conv.weight), torch.from_numpy(bias).to(conv.weight)
