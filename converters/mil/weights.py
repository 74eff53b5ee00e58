"""A program's weights as a reader of checkpoints wants them: its convolutions in execution order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError

from .program import Function, Operation

__all__ = ["Convolution", "convolutions"]


@dataclass(frozen=True)
class Convolution:
    """One two-dimensional convolution.

    Attributes:
        name: of its result in the program.
        weight: of the constant that holds its kernel, which often keeps the name that it had in the checkpoint.
        kernel: (out, in / groups, height, width) float32, decompressed.
        bias: (out,) float32; zeros when there is none.
        dtype: element type that the program computes with: `fp32` or `fp16`.
    """

    name: str
    weight: str
    kernel: np.ndarray
    bias: np.ndarray
    dtype: str


def convolutions(function: Function, constants: Mapping[str, Any]) -> tuple[Convolution, ...]:
    """Every `conv` of rank 4 with constant weights; a batch norm that alone takes its result is folded in.

    Raises:
        ArtifactError: the weights of a convolution are computed from the model's inputs.
    """
    found = [operation for operation in function.operations if operation.kind == "conv"]
    all_of_them = (_convolution(function, operation, constants) for operation in found)
    return tuple(item for item in all_of_them if item.kernel.ndim == 4)


def _convolution(function: Function, operation: Operation, constants: Mapping[str, Any]) -> Convolution:
    kernel, bias = (_constant(operation, key, constants) for key in ("weight", "bias"))
    if kernel is None:
        raise ArtifactError(f"op {operation.name!r} (conv): its weights are not constant")
    bias = np.zeros(kernel.shape[0], np.float32) if bias is None else bias
    users = function.consumers.get(operation.name, ())
    if len(users) == 1 and users[0].kind == "batch_norm" and operation.name not in function.outputs:
        kernel, bias = _folded(kernel, bias, users[0], constants)
    kind = operation.outputs[0][1].dtype
    weight = operation.arguments["weight"]
    label = weight if isinstance(weight, str) else operation.name
    return Convolution(operation.name, label, kernel, bias, kind.name if kind else "?")


def _folded(
    kernel: np.ndarray, bias: np.ndarray, norm: Operation, constants: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """In float64, rounded once: w' = w g, b' = (b - mean) g + beta, with g = gamma / sqrt(var + eps)."""
    keys = ("mean", "variance", "gamma", "beta", "epsilon")
    mean, var, gamma, beta, eps = (_constant(norm, key, constants) for key in keys)
    if mean is None or var is None:
        raise ArtifactError(f"op {norm.name!r} (batch_norm): its statistics are not constant")
    scale = np.float64(1 if gamma is None else gamma) / np.sqrt(var.astype(np.float64) + (1e-5 if eps is None else eps))
    shifted = (bias.astype(np.float64) - mean) * scale + (0 if beta is None else beta)
    folded = kernel.astype(np.float64) * scale.reshape(-1, *[1] * (kernel.ndim - 1))
    return folded.astype(np.float32), shifted.astype(np.float32)


def _constant(operation: Operation, key: str, constants: Mapping[str, Any]) -> np.ndarray | None:
    argument = operation.arguments.get(key)
    if isinstance(argument, str):
        value = constants.get(argument)
        return None if value is None else value.float().numpy()
    return None if argument is None or isinstance(argument, tuple) else argument.value().astype(np.float32)
