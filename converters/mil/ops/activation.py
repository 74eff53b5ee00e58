"""Activations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import op
from .params import integer, number


@op("relu", exact=True)
def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


@op("relu6", exact=True)
def relu6(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


@op("leaky_relu")
def leaky_relu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x >= 0, x, x * alpha)


@op("prelu")
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """x (N, C, *D), alpha (C,)."""
    return torch.where(x >= 0, x, x * _per_channel(alpha, x))


@op("clamped_relu")
def clamped_relu(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.where(x >= 0, x, x * alpha).clamp(max=number(beta))


@op("thresholded_relu")
def thresholded_relu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x >= alpha, x, torch.zeros_like(x))


@op("elu")
def elu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x > 0, x, alpha * torch.expm1(x))


@op("gelu")
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in ("EXACT", "TANH_APPROXIMATION"):
        raise ValueError(f"mode {mode!r}; there are: EXACT, TANH_APPROXIMATION, SIGMOID_APPROXIMATION")
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


@op("silu")
def silu(x: Tensor) -> Tensor:
    return F.silu(x)


@op("sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@op("sigmoid_hard")
def sigmoid_hard(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return (x * alpha + beta).clamp(0, 1)


@op("softplus")
def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


@op("softplus_parametric")
def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """alpha_c log(1 + exp(beta_c x)), one pair per channel of axis 1."""
    scaled = x * _per_channel(beta, x)
    return _per_channel(alpha, x) * torch.logaddexp(scaled, torch.zeros_like(x))


@op("softsign")
def softsign(x: Tensor) -> Tensor:
    return F.softsign(x)


@op("scaled_tanh")
def scaled_tanh(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return alpha * torch.tanh(x * beta)


@op("linear_activation")
def linear_activation(x: Tensor, alpha: Tensor, beta: Tensor | float = 0) -> Tensor:
    return x * alpha + beta


@op("softmax")
def softmax(x: Tensor, axis: Tensor | int = -1) -> Tensor:
    return torch.softmax(x, integer(axis))


def _per_channel(value: Tensor, x: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (x.ndim - 2))
