"""ONNX files of any exporter -> Checkpoint. Parsed, never run; external data has to lie in the file's own folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import ANCHOR, Checkpoint, identify, strip_prefix
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import check_size, inside

from .graph import Affine, Conv, Graph, Node, norm

__all__ = ["activations", "read"]

PASSING = ("Identity", "Cast")  # a constant may come through these


def read(path: Path) -> Checkpoint:
    """By name where the authors' names and their batch norm are kept, otherwise by the graph.

    Raises:
        CheckpointError: damaged, no U²-Net, or its external data lies outside its folder.
    """
    model = _parse(path)
    meta = {prop.key: prop.value for prop in model.metadata_props}
    constants = _Constants(model.graph, path.parent)
    named = _named(constants)
    if named is not None:
        return Checkpoint.from_state(named, meta=meta)
    return _graph(model.graph, constants).checkpoint(meta)


def activations(path: Path) -> list[str]:
    """Names of the values that are the units' activations, in the order of `Architecture.units()`."""
    model = _parse(path)
    return _graph(model.graph, _Constants(model.graph, path.parent)).activations()


def _parse(path: Path) -> Any:
    import onnx

    check_size(path.stat().st_size, "the file")
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf raises types of its own, which differ by its backend
        raise CheckpointError(f"damaged or not an ONNX file ({one_line(error)})") from None


class _Constants(Mapping[str, np.ndarray]):
    """Initialisers and Constant nodes by name, also behind Identity, Cast and DequantizeLinear; decoded on demand."""

    def __init__(self, graph: Any, folder: Path):
        self.folder = folder
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes = {}
        for node in graph.node:
            values = {a.name: a for a in node.attribute}
            if node.op_type == "Constant" and "value" in values and node.output:
                self.tensors[node.output[0]] = values["value"].t
            elif node.op_type in (*PASSING, "DequantizeLinear") and node.output and node.input:
                self.nodes[node.output[0]] = node

    def __getitem__(self, name: str) -> np.ndarray:
        for _ in range(8):  # a chain is short; a longer one goes in a circle
            if name in self.tensors:
                return self._decode(self.tensors[name])
            node = self.nodes[name]
            if node.op_type == "DequantizeLinear":
                return self._dequantised(node)
            name = node.input[0]
        raise KeyError(name)

    def __iter__(self) -> Any:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def _decode(self, tensor: Any) -> np.ndarray:
        from onnx import numpy_helper

        try:
            if tensor.data_location == tensor.EXTERNAL:
                return self._external(tensor)
            return numpy_helper.to_array(tensor)
        except CheckpointError:
            raise
        except Exception as error:  # numpy and onnx raise what they like for a wrong length or an unknown type
            raise CheckpointError(f"{tensor.name}: the tensor is damaged ({one_line(error)})") from None

    def _external(self, tensor: Any) -> np.ndarray:
        from onnx import helper

        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = inside(self.folder, entries.get("location", ""))
        if not file.is_file():
            raise CheckpointError(f"its external data {entries.get('location')!r} is missing beside it")
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        size = int(np.prod([int(n) for n in tensor.dims], dtype=object)) * dtype.itemsize
        offset = int(entries.get("offset", 0))
        if offset < 0 or offset + size > file.stat().st_size or int(entries.get("length", size)) != size:
            raise CheckpointError(f"{tensor.name}: its external data ends before the tensor does")
        with file.open("rb") as stream:
            stream.seek(offset)
            return np.frombuffer(stream.read(size), dtype).reshape(tuple(tensor.dims))

    def _dequantised(self, node: Any) -> np.ndarray:
        values = [self[name].astype(np.float32) for name in node.input]
        zero = values[2] if len(values) > 2 else np.float32(0)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [1] * values[0].ndim
        if values[1].size > 1 and values[0].ndim:
            shape[axis] = -1
        return (values[0] - np.reshape(zero, shape)) * np.reshape(values[1], shape)


def _named(constants: _Constants) -> dict[str, np.ndarray] | None:
    """The state dict, when the file keeps the authors' names with their batch norm; None when it does not."""
    names = strip_prefix({name: np.empty(0) for name in constants.tensors})
    if ANCHOR not in names or "stage1.rebnconvin.bn_s1.running_var" not in names:
        return None
    prefix = next(name for name in constants.tensors if name.endswith(ANCHOR))[: -len(ANCHOR)]
    own = {name: constants[prefix + name] for name in names if name.startswith(("stage", "side", "outconv", "conv_in"))}
    shapes = {name: array.shape for name, array in own.items()}
    try:
        wanted = identify(shapes).state_shapes()
    except CheckpointError:
        return None
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
    return {key: own[key] for key in wanted if key in own} if all(key in own for key in needed) else None


def _graph(graph: Any, constants: _Constants) -> Graph:
    nodes = [_node(node, constants) for node in graph.node]
    return Graph(nodes, [output.name for output in graph.output])


def _node(node: Any, constants: _Constants) -> Node:
    def constant(index: int) -> np.ndarray | None:
        name = node.input[index] if index < len(node.input) else ""
        try:
            return constants[name] if name else None
        except KeyError:
            return None

    inputs, outputs = tuple(node.input), tuple(node.output)
    role: Conv | Affine | None = None
    if node.op_type == "Conv":
        kernel = constant(1)
        role = Conv(kernel, constant(2)) if kernel is not None else None
    elif node.op_type == "BatchNormalization":
        gamma, beta, mean, var = (constant(n) for n in (1, 2, 3, 4))
        eps = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        role = None if mean is None or var is None else norm(gamma, beta, mean, var, eps)
    elif node.op_type in ("Add", "Mul") and len(node.input) == 2:
        left, right = constant(0), constant(1)
        value = left if right is None else right
        if value is not None:
            role = Affine(1.0, value) if node.op_type == "Add" else Affine(value, 0.0)
            inputs = (inputs[1 if right is None else 0],)
    return Node(node.op_type, inputs, outputs, role)
