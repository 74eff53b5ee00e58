"""Core AI's assets of any maker -> Checkpoint, by their graphs; nothing in them is run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, NotANetworkError

from ..coreai import Asset
from ..coreai.functions import COMPRESSED, Operation
from ..embedded import words_of_weights
from .weight_graph import Affine, Conv, Graph, Node, beside_constant

__all__ = ["graph_of", "read"]

SUMS = {"broadcasting_add": False, "add": False, "broadcasting_mul": True, "mul": True}  # whether it is a product


def read(path: Path) -> Checkpoint:
    """Compressed weights too. Raises CheckpointError: damaged, or no U²-Net."""
    try:
        asset = Asset.open(path)
        return graph_of(asset).checkpoint(words_of_weights(asset.metadata))
    except ArtifactError as error:
        raise CheckpointError(str(error)) from None


def graph_of(asset: Asset) -> Graph:
    """The network's graph; values are named by their numbers."""
    function, known = asset.function, asset.function.constants()
    if any(operation.kind in COMPRESSED for operation in function.operations):
        from ..coreai.interpreter import Interpreter

        known = {number: value.numpy() for number, value in Interpreter(asset).constants.items()}
    nodes = [
        node for each in function.operations if each.results[0].number not in known for node in _nodes(each, known)
    ]
    return Graph(nodes, [str(number) for number in function.outputs.values()])


def _nodes(operation: Operation, known: Mapping[int, np.ndarray]) -> Iterator[Node]:
    kind = operation.kind.rpartition("_v")[0]
    inputs = tuple(number for number in operation.operands if number not in known)
    role: Conv | Affine | None = None
    if kind == "conv2d":
        role = _convolution(operation, known)
    elif kind in SUMS:
        values = [known.get(number) for number in operation.operands]
        role, left = beside_constant([str(n) for n in operation.operands], values, product=SUMS[kind])
        inputs = tuple(int(name) for name in left)
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
