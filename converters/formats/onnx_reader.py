"""ONNX files of any exporter -> Checkpoint. Parsed, never run; external data has to lie in the file's own folder.

Quantised ones too, as onnxruntime's quantiser and others write them: integers behind `DequantizeLinear`, `QLinearConv`,
and `ConvInteger` whose scales follow it.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, cast

import numpy as np

from u2net_zoo.batch_norm import batch_norm
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.identify import ANCHOR, identify, strip_prefix
from u2net_zoo.limits import check_size

from ..embedded import words_of_weights
from .onnx_constants import Constants, dequantised, storage
from .other_activations import clamp
from .weight_graph import Affine, Conv, Graph, Node, beside_constant

__all__ = ["activations", "read"]

FUSION = "outconv.weight"
CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger")


def read(path: Path) -> Checkpoint:
    """By name where the authors' names and their batch norm are kept, otherwise by the graph.

    Raises:
        CheckpointError: damaged, no U²-Net, or its external data lies outside its folder.
    """
    model = _parse(path)
    meta = words_of_weights({prop.key: prop.value for prop in model.metadata_props})
    constants = Constants(model.graph, path.parent)
    named = _named_state(constants)
    graph = _graph(model.graph, constants)
    if named is None:
        return graph.checkpoint(meta)
    if FUSION in named:
        named[FUSION] = graph.arranged(named[FUSION])
    found = Checkpoint.from_state(named, meta=meta, dilations=_dilations(model.graph))
    graph.refuse_other_activations(found.arch)
    return found


def activations(path: Path) -> list[str]:
    """Names of the values that are the units' activations, in the order of `Architecture.units()`."""
    model = _parse(path)
    return _graph(model.graph, Constants(model.graph, path.parent)).activations()


def _parse(path: Path) -> Any:
    import onnx

    check_size(path.stat().st_size, "the file")
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf raises types of its own, which differ by its backend
        raise CheckpointError(f"damaged or not an ONNX file ({one_line(error)})") from None


def _named_state(constants: Constants) -> dict[str, np.ndarray] | None:
    """The state dict, when the file keeps the authors' names with their batch norm; None when it does not."""
    names = strip_prefix({name: np.empty(0) for name in constants.tensors})
    if ANCHOR not in names or "stage1.rebnconvin.bn_s1.running_var" not in names:
        return None
    prefix = next(name for name in constants.tensors if name.endswith(ANCHOR))[: -len(ANCHOR)]
    own = {name: constants[prefix + name] for name in names if name.startswith(("stage", "side", "outconv", "conv_in"))}
    shapes = {name: array.shape for name, array in own.items()}
    try:
        wanted = identify(shapes, blocks="plain").state_shapes()  # which does not change them
    except CheckpointError:
        return None
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
    return {key: own[key] for key in wanted if key in own} if all(key in own for key in needed) else None


def _dilations(graph: Any) -> dict[str, int]:
    """Unit path -> dilation, of convolutions whose kernels bear the authors' names, behind any prefix."""
    found = {node.input[1]: _dilation(node) for node in graph.node if node.op_type == "Conv"}
    prefix = next((name.removesuffix(ANCHOR) for name in found if name.endswith(ANCHOR)), "")
    units = {name.removeprefix(prefix).removesuffix(".weight"): step for name, step in found.items()}
    return {path.removesuffix(".conv_s1"): step for path, step in units.items()}


def _dilation(node: Any) -> int:
    return max(next((a.ints for a in node.attribute if a.name == "dilations"), None) or [1])


def _graph(graph: Any, constants: Constants) -> Graph:
    nodes = [_node(node, constants) for node in graph.node]
    return Graph(nodes, [output.name for output in graph.output])


def _node(node: Any, constants: Constants) -> Node:
    def constant(index: int) -> np.ndarray | None:
        name = node.input[index] if index < len(node.input) else ""
        try:
            return constants[name] if name else None
        except KeyError:
            return None

    inputs, outputs = tuple(node.input), tuple(node.output)
    role: Conv | Affine | None = None
    if node.op_type in CONVOLUTIONS:
        role = _convolution(node, constants, constant)
        role = role and replace(role, dilation=_dilation(node))
    elif node.op_type == "BatchNormalization":
        gamma, beta, mean, var = (cast(Any, constant(n)) for n in (1, 2, 3, 4))  # one that is missing folds to NaN
        eps = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        role = None if mean is None or var is None else batch_norm(gamma, beta, mean, var, eps)
    elif node.op_type in ("Add", "Mul") and len(node.input) == 2:
        values = (constant(0), constant(1))
        role, inputs = beside_constant(inputs, values, product=node.op_type == "Mul")
    kind = clamp(*_limits(node, constant)) if node.op_type == "Clip" else node.op_type
    return Node(kind, inputs, outputs, role)


def _limits(node: Any, constant: Callable[[int], np.ndarray | None]) -> tuple[float, float]:
    """Of a Clip: attributes before opset 11, inputs since; without one it has no end."""
    given = {a.name: a.f for a in node.attribute if a.name in ("min", "max")}
    found = {name: constant(n) for n, name in ((1, "min"), (2, "max"))}
    given |= {name: float(value.reshape(-1)[0]) for name, value in found.items() if value is not None and value.size}
    return given.get("min", -inf), given.get("max", inf)


def _convolution(node: Any, constants: Constants, constant: Callable[[int], np.ndarray | None]) -> Conv | None:
    """Of real values: x · scale is what an integer input x stands for. None where the kernel is computed."""
    if node.op_type == "Conv":
        kernel = constant(1)
        return None if kernel is None else Conv(kernel, constant(2), constants.storage(node.input[1]))
    if node.op_type == "ConvInteger":  # its result is in steps of both scales, which are multiplied in behind it
        codes, zero = constant(1), constant(3)
        if codes is None:
            return None
        step = np.ones(() if zero is None else zero.shape, np.float32)
        return Conv(dequantised(codes, step, zero) / constants.input_scale(node.input[0]), None, storage(codes, step))
    into, codes, scale, zero, bias = (constant(n) for n in (1, 3, 4, 5, 8))
    if into is None or codes is None or scale is None:
        return None
    real = None if bias is None else dequantised(bias, into * scale)
    return Conv(dequantised(codes, scale, zero), real, storage(codes, scale))
