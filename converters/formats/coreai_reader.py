"""Core AI's assets of any maker -> Checkpoint, by their graphs; nothing in them is run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, NotANetworkError

from ..coreai import Asset
from ..coreai.functions import COMPRESSED, Operation
from ..embedded import words_of_weights
from .other_activations import clamp, refuse
from .weight_graph import MOVING, Affine, Conv, Graph, Node, beside_constant

__all__ = ["graph_of", "read"]

SUMS = {"broadcasting_add": False, "add": False, "broadcasting_mul": True, "mul": True}  # whether it is a product
CUTS: dict[str, Callable[[float, float], float]] = {
    "maximum": max,
    "broadcasting_maximum": max,
    "minimum": min,
    "broadcasting_minimum": min,
}
SIZE = "get_shape"  # of a map, and nothing of what is in it
Limits = dict[int, tuple[int, float, float]]  # a value -> the one that it is, cut off at two numbers


def read(path: Path) -> Checkpoint:
    """Compressed weights too. Raises CheckpointError: damaged, or no U²-Net."""
    try:
        asset = Asset.open(path)
        graph = graph_of(asset)
        checkpoint = graph.checkpoint(words_of_weights(asset.metadata))
        refuse_all_but_relu(graph, checkpoint.arch)
        return checkpoint
    except ArtifactError as error:
        raise CheckpointError(str(error)) from None


def graph_of(asset: Asset) -> Graph:
    """The network's graph; values are named by their numbers."""
    function, known = asset.function, asset.function.constants()
    if any(operation.kind in COMPRESSED for operation in function.operations):
        from ..coreai.interpreter import Interpreter

        known = {number: value.numpy() for number, value in Interpreter(asset).constants.items()}
    steps = [each for each in function.operations if each.results[0].number not in known]
    limits = _limits(steps, known)
    return Graph(
        [node for each in steps for node in _nodes(each, known, limits)],
        [str(number) for number in function.outputs.values()],
    )


def refuse_all_but_relu(graph: Graph, arch: Architecture) -> None:
    """Raises NotANetworkError where a convolution of a block is followed by anything but ReLU.

    Apple's converter writes few activations by a name: most come as sums, products and comparisons, so what is allowed
    is listed here, and not what is known to be another one.
    """
    origin: dict[str, str] = {}  # a value -> the convolution whose unit it belongs to
    kinds: dict[str, str] = {}  # the convolution's own value -> the first thing that is no ReLU
    active: set[str] = set()  # values behind a ReLU
    for node in graph.order():
        if isinstance(node.role, Conv):
            origin[node.outputs[0]] = node.outputs[0]
            kinds[node.outputs[0]] = ""
        for name in (each for each in node.inputs if each in origin and node.kind != SIZE):
            unit, behind = origin[name], name in active
            if node.kind in MOVING or (not behind and (isinstance(node.role, Affine) or node.kind == "Relu")):
                origin |= dict.fromkeys(node.outputs, unit)
                active.update(node.outputs if behind or node.kind == "Relu" else ())
            elif not behind or isinstance(node.role, Affine):
                kinds[unit] = kinds[unit] or node.kind
    refuse(arch.units(), list(kinds.values()))


def _limits(steps: Sequence[Operation], known: Mapping[int, np.ndarray]) -> Limits:
    """Of chains of ReLU, and of maxima and minima with one number."""
    found: Limits = {}
    for step in steps:
        kind = step.kind.rpartition("_v")[0]
        computed = [number for number in step.operands if number not in known]
        bounds = [known[number] for number in step.operands if number in known]
        if kind == "relu":
            cut, bound = CUTS["maximum"], 0.0
        elif kind in CUTS and len(bounds) == 1 and bounds[0].size and bounds[0].min() == bounds[0].max():
            cut, bound = CUTS[kind], float(bounds[0].flat[0])
        else:
            continue
        if len(computed) == 1:
            source, low, high = found.get(computed[0], (computed[0], -inf, inf))
            found[step.results[0].number] = source, cut(low, bound), cut(high, bound)
    return found


def _nodes(operation: Operation, known: Mapping[int, np.ndarray], limits: Limits) -> Iterator[Node]:
    kind = operation.kind.rpartition("_v")[0]
    inputs = tuple(number for number in operation.operands if number not in known)
    role: Conv | Affine | None = None
    if kind == "conv2d":
        role = _convolution(operation, known)
    elif kind in SUMS:
        values = [known.get(number) for number in operation.operands]
        role, left = beside_constant([str(n) for n in operation.operands], values, product=SUMS[kind])
        inputs = tuple(int(name) for name in left)
    elif operation.results[0].number in limits:
        source, low, high = limits[operation.results[0].number]
        kind, inputs = clamp(low, high), (source,)
    elif "callee" in operation.attributes:
        kind = str(operation.attributes["callee"])
    made = tuple(str(value.number) for value in operation.results)
    yield Node(kind, tuple(map(str, inputs)), made, role)


def _convolution(operation: Operation, known: Mapping[int, np.ndarray]) -> Conv | None:
    """`(x, kernel, stride, dilation, groups)`."""
    if len(operation.operands) != 5:
        return None
    kernel, _, dilation, groups = (known.get(number) for number in operation.operands[1:5])
    if kernel is None or kernel.ndim != 4:
        return None
    if groups is None or groups.size != 1 or int(groups) != 1:
        raise NotANetworkError("not a U²-Net: it has convolutions in groups")
    return Conv(kernel.astype(np.float32), None, dilation=0 if dilation is None else int(dilation.max(initial=1)))
