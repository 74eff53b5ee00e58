"""What is constant in an ONNX graph: initialisers, and what the ops between them and a convolution make of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import inside

__all__ = ["Constants", "dequantised", "storage"]

PASSING = ("Identity", "Cast")  # a constant may come through these
DEPTH = 8  # a chain is short; a longer one goes in a circle


class Constants(Mapping[str, np.ndarray]):
    """Real values by name, decoded on demand: dequantised, and in float32 where they were stored in integers.

    The scale that `DynamicQuantizeLinear` finds for an input counts as 1: what it quantised then stands for the real
    input, and what is left of the product of scales behind a `ConvInteger` is the kernel's own.
    """

    def __init__(self, graph: Any, folder: Path):
        self.folder = folder
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes: dict[str, Any] = {}
        for node in graph.node:
            values = {a.name: a for a in node.attribute}
            if node.op_type == "Constant" and "value" in values and node.output:
                self.tensors[node.output[0]] = values["value"].t
            elif node.op_type == "DynamicQuantizeLinear" and len(node.output) > 1:
                self.nodes[node.output[1]] = node
            elif node.op_type in _EVALUATED and node.output and node.input:
                self.nodes[node.output[0]] = node

    def __getitem__(self, name: str) -> np.ndarray:
        return self._value(name, DEPTH)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def storage(self, name: str) -> str:
        """How a dequantised value is stored: `int8 per channel`, `int4 in blocks of 16`; empty for floats.

        Raises:
            KeyError: it is computed.
        """
        for _ in range(DEPTH):
            if name in self.tensors:
                return ""
            node = self.nodes[name]
            if node.op_type == "DequantizeLinear":
                codes = self[node.input[0]]
                return storage(codes, self[node.input[1]], _attribute(node, "block_size", 0))
            name = node.input[0]
        raise KeyError(name)

    def input_scale(self, name: str) -> np.ndarray:
        """The scale by which a convolution's input `name` was quantised; 1 where it is found as the file runs."""
        node = self.nodes.get(name)
        return self[node.input[1]] if node is not None and node.op_type == "QuantizeLinear" else np.ones((), np.float32)

    def _value(self, name: str, depth: int) -> np.ndarray:
        if name in self.tensors:
            return self._decode(self.tensors[name])
        if depth == 0:
            raise KeyError(name)
        node = self.nodes[name]
        if node.op_type == "DynamicQuantizeLinear":
            return np.ones((), np.float32)
        return _EVALUATED[node.op_type](node, [self._value(each, depth - 1) for each in node.input])

    def _decode(self, tensor: Any) -> np.ndarray:
        from onnx import numpy_helper

        try:
            if tensor.data_location == tensor.EXTERNAL:
                return self._read_external(tensor)
            return numpy_helper.to_array(tensor)
        except CheckpointError:
            raise
        except Exception as error:  # numpy and onnx raise what they like for a wrong length or an unknown type
            raise CheckpointError(f"{tensor.name}: the tensor is damaged ({one_line(error)})") from None

    def _read_external(self, tensor: Any) -> np.ndarray:
        from onnx import TensorProto, numpy_helper

        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = inside(self.folder, entries.get("location", ""))
        if not file.is_file():
            raise CheckpointError(f"its external data {entries.get('location')!r} is missing beside it")
        count = int(np.prod([int(n) for n in tensor.dims], dtype=object))
        size = (count * _bits(tensor.data_type) + 7) // 8
        offset = int(entries.get("offset", 0))
        if offset < 0 or offset + size > file.stat().st_size or int(entries.get("length", size)) != size:
            raise CheckpointError(f"{tensor.name}: its external data ends before the tensor does")
        with file.open("rb") as stream:
            stream.seek(offset)
            read = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=stream.read(size))
        return numpy_helper.to_array(read)


def storage(codes: np.ndarray, scale: np.ndarray, block: int = 0) -> str:
    """`int8 per channel`, `uint8 per tensor`, `int4 in blocks of 16`."""
    place = f"in blocks of {block}" if block else "per channel" if scale.size > 1 else "per tensor"
    return f"{codes.dtype.name} {place}"


def dequantised(
    codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, axis: int = 0, block: int = 0
) -> np.ndarray:
    """Real values, float32: (codes − zero) · scale.

    Args:
        scale, zero: one number, one for each place of `axis`, or with `block` one for each run of as many places.

    Raises:
        ValueError: they do not fit.
    """
    scale, zero = (_spread(value, codes, axis, block) for value in (scale, np.zeros(()) if zero is None else zero))
    return (codes.astype(np.float32) - zero) * scale


def _spread(value: np.ndarray, codes: np.ndarray, axis: int, block: int) -> np.ndarray:
    value = value.astype(np.float32)
    if block and value.ndim:
        return value.take(np.arange(codes.shape[axis]) // block, axis)
    if value.size == 1:
        return value.reshape(())
    shape = [1] * codes.ndim
    shape[axis] = -1
    return value.reshape(shape)


def _bits(kind: int) -> int:
    from onnx import TensorProto, helper

    name = TensorProto.DataType.Name(kind)
    packed = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
    return packed.get(name) or 8 * np.dtype(helper.tensor_dtype_to_np_dtype(kind)).itemsize


def _attribute(node: Any, name: str, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), default)


def _first(node: Any, values: list[np.ndarray]) -> np.ndarray:
    return values[0]


def _dequantise(node: Any, values: list[np.ndarray]) -> np.ndarray:
    axis, block = _attribute(node, "axis", 1), _attribute(node, "block_size", 0)
    return dequantised(values[0], values[1], values[2] if len(values) > 2 else None, axis, block)


def _quantise(node: Any, values: list[np.ndarray]) -> np.ndarray:
    """Weights that are stored in float and rounded in the graph, as quantization-aware training exports them."""
    x, scale, zero = values[0], values[1], values[2] if len(values) > 2 else np.zeros((), np.uint8)
    axis, block = _attribute(node, "axis", 1), _attribute(node, "block_size", 0)
    low, high = (-8, 7) if zero.dtype.name == "int4" else (0, 15) if zero.dtype.name == "uint4" else _range(zero)
    steps = np.rint(x.astype(np.float32) / _spread(scale, x, axis, block)) + _spread(zero, x, axis, block)
    return np.clip(steps, low, high).astype(zero.dtype)


def _range(zero: np.ndarray) -> tuple[int, int]:
    limits = np.iinfo(zero.dtype)
    return int(limits.min), int(limits.max)


def _multiply(node: Any, values: list[np.ndarray]) -> np.ndarray:
    a, b = values[0], values[1]
    if int(np.prod(np.broadcast_shapes(a.shape, b.shape), dtype=object)) > max(a.size, b.size):
        raise ValueError(f"a product of {a.shape} and {b.shape}, which is larger than both")
    return a * b


def _reshape(node: Any, values: list[np.ndarray]) -> np.ndarray:
    shape = [values[0].shape[place] if n == 0 else int(n) for place, n in enumerate(values[1])]
    return values[0].reshape(shape)


_EVALUATED = {
    **dict.fromkeys(PASSING, _first),
    "DequantizeLinear": _dequantise,
    "QuantizeLinear": _quantise,
    "Mul": _multiply,
    "Reshape": _reshape,
}
