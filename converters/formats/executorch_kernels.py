"""Kernels that a program calls outside of its delegates, as far as weights need them."""

from collections.abc import Iterator
from math import inf, prod

import numpy as np

from u2net_zoo.batch_norm import batch_norm

from .executorch_program import Method, Parsed, Step
from .executorch_schema import Kind, Scalar, Tensor
from .other_activations import clamp
from .weight_graph import Affine, Conv, Node, beside_constant

__all__ = ["kernel_nodes"]

DTYPES = {
    Scalar.byte: "u1",
    Scalar.char: "i1",
    Scalar.int32: "<i4",
    Scalar.long: "<i8",
    Scalar.half: "<f2",
    Scalar.float: "<f4",
    Scalar.double: "<f8",
}
NORMS = ("aten::_native_batch_norm_legit_no_training", "aten::native_batch_norm")
CLAMPS = ("aten::clamp", "aten::hardtanh")
MOVING = ("aten::clone", "aten::_to_copy", "aten::alias_copy", "aten::permute_copy", "aten::view_copy")
TURNING = ("dim_order_ops::_to_dim_order_copy", "dim_order_ops::_clone_dim_order")
KINDS = {"aten::cat": "Concat"} | dict.fromkeys((*MOVING, *TURNING), "Identity")  # as the shared graph calls them


def kernel_nodes(program: Parsed, method: Method, step: Step) -> Iterator[Node]:
    """One call: its last argument is what it makes, once more where it is a list."""
    if len(step.arguments) < 2:
        return
    name = step.name.partition(".")[0]
    made = _tensors(method, step.arguments[-1])
    taken = [n for argument in step.arguments[:-1] for n in _tensors(method, argument) if n not in made]
    values = {n: _constant(program, method, n) for n in dict.fromkeys(taken)}
    inputs = tuple(str(n) for n in taken if values[n] is None)
    outputs = tuple(str(n) for n in made)
    role: Conv | Affine | None = None
    if name == "aten::convolution" and len(step.arguments) > 8 and values.get(step.arguments[1]) is not None:
        role = _convolution(method, step, values)
    elif name in NORMS and len(taken) >= 5 and len(step.arguments) > 7:
        role = _norm(method, step, [values[n] for n in step.arguments[1:5]])
    elif name in ("aten::add", "aten::mul") and len(taken) == 2:
        each = [values[n] for n in taken]
        if any(value is not None and _fits(value) for value in each):
            role, inputs = beside_constant(tuple(str(n) for n in taken), each, product=name == "aten::mul")
    kind = _clamp(method, step) if name in CLAMPS else KINDS.get(name, name.partition("::")[2])
    yield Node(kind, inputs, outputs, role)


def _clamp(method: Method, step: Step) -> str:
    """Of `(x, low, high, …)`; without a number it has no limit there."""
    limits = [-inf, inf]
    for n, index in enumerate(step.arguments[1:3]):
        if method.kind(index) == Kind.Double:
            limits[n] = method.table(index, Kind.Double).double(0)
        elif method.kind(index) == Kind.Int:
            limits[n] = float(method.table(index, Kind.Int).signed(0))
    return clamp(*limits)


def _fits(value: np.ndarray) -> bool:
    """Whether a constant is one number, or one for each channel."""
    return value.size == 1 or (value.ndim >= 3 and value.shape[-2:] == (1, 1))


def _tensors(method: Method, index: int) -> list[int]:
    """Indices of the tensors that an argument is: one, several of a list, or none."""
    kind = method.kind(index)
    return [index] if kind == Kind.Tensor else method.listed(index) if kind == Kind.TensorList else []


def _constant(program: Parsed, method: Method, index: int) -> np.ndarray | None:
    """A tensor's value; None of what is computed, or of another type than numbers."""
    if method.kind(index) != Kind.Tensor:
        return None
    table = method.table(index, Kind.Tensor)
    scalar, buffer = table.byte(Tensor.scalar), table.integer(Tensor.buffer)
    extra = table.table(Tensor.extra) if Tensor.extra in table else None
    outside = extra is not None and bool(extra.byte(2))
    if scalar not in DTYPES or (not buffer and not outside) or Tensor.allocation in table:
        return None
    dtype, shape = np.dtype(DTYPES[Scalar(scalar)]), method.shape(index)
    if any(side < 0 for side in shape):
        raise ValueError(f"a tensor of shape {shape}")
    size = prod(shape) * dtype.itemsize
    content = program.constant(buffer, size) if not outside else memoryview(b"")
    if outside and extra is not None:
        content = program.named[extra.text(1)][:size]
    order = table.array(Tensor.order, "u1").tolist()
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"a tensor of shape {shape} in the order {order[:8]}")
    stored = np.frombuffer(content, dtype).reshape([shape[axis] for axis in order])
    return stored.transpose(np.argsort(order))


def _convolution(method: Method, step: Step, values: dict[int, np.ndarray | None]) -> Conv:
    """`(x, kernel, bias, stride, padding, dilation, transposed, …)`."""
    kernel = values[step.arguments[1]]
    if kernel is None or kernel.ndim != 4:
        raise ValueError("a kernel that is not of four axes")
    dilation = max(method.integers(step.arguments[5]), default=0)
    return Conv(kernel.astype(np.float32), values.get(step.arguments[2]), dilation=dilation)


def _norm(method: Method, step: Step, values: list[np.ndarray | None]) -> Affine | None:
    """`(x, gamma, beta, mean, variance, momentum, eps, …)`."""
    gamma, beta, mean, variance = values
    if gamma is None or beta is None or mean is None or variance is None:
        return None
    return batch_norm(gamma, beta, mean, variance, method.table(step.arguments[6], Kind.Double).double(0))
