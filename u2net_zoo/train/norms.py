"""Batch norm in training: statistics over all processes, and statistics for weights that came without."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..arch import BN_MOMENTUM
from ..batch_norm import batch_norm
from ..checkpoint import Checkpoint
from ..torch_model import U2Net, build, state_of
from .recipe import Recipe
from .samples import Order, Samples
from .start import lacks_statistics
from .torch_data import loader

__all__ = ["calibrate", "prepare", "share_statistics"]

CALIBRATION = 4  # batches that give identity norms their statistics


class _SharedNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device; Torch's own `SyncBatchNorm` refuses the CPU.

    Every process must hold as many pixels as the others, which the loader sees to.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "_SharedNorm":
        """A norm with the parameters and buffers of `norm` themselves."""
        with torch.device("meta"):  # nothing is allocated that is replaced at once
            shared = cls(norm.num_features, norm.eps, norm.momentum)
        for name, value in (*norm.named_parameters(), *norm.named_buffers()):
            setattr(shared, name, value)
        return shared.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce  # differentiable

        world = dist.get_world_size()
        mean = all_reduce(x.mean((0, 2, 3))) / world
        centred = x - mean[:, None, None]
        var = all_reduce(centred.square().mean((0, 2, 3))) / world
        self._track(mean, var, world * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(var + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: int) -> None:
        running_mean, running_var = _statistics(self)
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        running_mean.lerp_(mean, BN_MOMENTUM)
        running_var.lerp_(var * count / max(count - 1, 1), BN_MOMENTUM)  # Torch keeps the unbiased variance


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(running mean, running variance), which every norm of this project has."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics")
    return norm.running_mean, norm.running_var


def share_statistics(model: U2Net, on_gpu: bool) -> nn.Module:
    """The model with norms that see the whole batch, however many processes share it; its state dict stays the same."""
    if on_gpu:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if type(module) is nn.BatchNorm2d:
                setattr(parent, name, _SharedNorm.like(module))
    return model


def prepare(start: Checkpoint, samples: Samples, recipe: Recipe) -> Checkpoint:
    """Weights that can be trained: folded ones get batch norm back, identity norms the statistics of the samples."""
    start = start.unfold()
    if not lacks_statistics(start):
        return start
    model = build(start)
    batches = zip(loader(samples, Order(len(samples), recipe.batch, recipe.seed, 0)), range(CALIBRATION), strict=False)
    calibrate(model, (batch.image for batch, _ in batches))
    return state_of(model)


@torch.no_grad()
def calibrate(model: U2Net, batches: Iterable[Tensor]) -> None:
    """Gives identity norms the statistics of real features, without changing what the model computes in evaluation.

    Folded weights carry norms with mean 0 and variance 1, which training would replace by the features' own and so
    break the network at its first step. For each norm, with m and v measured on its input:

        mean' = m, var' = v, gamma' = gamma sqrt((v + eps) / (var + eps)),
        beta' = beta + gamma (m - mean) / sqrt(var + eps)

    Args:
        batches: inputs of the model, (N, C, H, W) each; their mean over batches is taken.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    moments: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {norm: [] for norm in norms}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        moments[norm].append((x.mean((0, 2, 3)), x.square().mean((0, 2, 3))))

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    was_training = model.training
    model.eval()
    for batch in batches:
        model(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        _set_statistics(norm, *(torch.stack(values).mean(0) for values in zip(*moments[norm], strict=True)))
    model.train(was_training)


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, square: Tensor) -> None:
    """Other statistics for the same function: what the norm makes of the new mean becomes its bias."""
    running_mean, running_var = _statistics(norm)
    var = (square - mean**2).clamp(min=0)
    values = (norm.weight, norm.bias, running_mean, running_var)
    gamma, beta, old_mean, old_var = (value.cpu().double().numpy() for value in values)
    before = batch_norm(gamma, beta, old_mean, old_var, norm.eps)
    norm.bias.copy_(torch.from_numpy(before(mean.cpu().numpy())))
    norm.weight.copy_(torch.from_numpy(before.scale).to(var) * (var + norm.eps).sqrt())
    running_mean.copy_(mean)
    running_var.copy_(var)
