"""A foreign graph as far as weights need it: who feeds whom, and which nodes hold a convolution.

Readers of ONNX, TFLite, ncnn, OpenVINO, Keras and TensorFlow graphs list their nodes; the walk finds the order in which
the convolutions run, folds what is left of batch norm into them, and hands the list to `Checkpoint.from_folded`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError

__all__ = ["Affine", "Conv", "Graph", "Node", "norm"]

# What only moves values about: a bias may come behind it, as TensorFlow writes a dilated convolution.
MOVING = frozenset(("BATCH_TO_SPACE_ND", "BatchToSpaceND", "STRIDED_SLICE", "Identity", "Cast", "Convert", "Split"))


@dataclass(frozen=True)
class Conv:
    """A convolution: kernel OIHW; bias (O,) or None."""

    kernel: np.ndarray
    bias: np.ndarray | None = None

    def then(self, after: "Affine") -> "Conv":
        """This convolution with what follows it folded in; in float64, rounded once."""
        channels = self.kernel.shape[0]
        scale, shift = (
            np.broadcast_to(np.asarray(v, np.float64).ravel(), (channels,)) for v in (after.scale, after.shift)
        )
        bias = np.zeros(channels) if self.bias is None else self.bias.astype(np.float64)
        kernel = self.kernel.astype(np.float64) * scale[:, None, None, None]
        with np.errstate(all="ignore"):  # what is not finite is refused later, with the unit's name
            return Conv(kernel.astype(np.float32), (bias * scale + shift).astype(np.float32))


@dataclass(frozen=True)
class Affine:
    """y = x · scale + shift, per channel or with one number for all: batch norm, or a bias that stands alone."""

    scale: np.ndarray | float
    shift: np.ndarray | float


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: its name in its own framework.
        inputs: names of the values that it takes; constants may be left out.
        outputs: names of the values that it makes.
        role: what it does to weights, None for everything without any.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    role: Conv | Affine | None = None


def norm(gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Affine:
    """Batch norm as an affine map: (x − mean) · gamma / sqrt(var + eps) + beta, in float64."""
    scale = np.asarray(gamma, np.float64) / np.sqrt(np.asarray(var, np.float64) + eps)
    return Affine(scale, np.asarray(beta, np.float64) - np.asarray(mean, np.float64) * scale)


@dataclass
class Graph:
    """Nodes and the names of the values that the model returns, in any order; no outputs: whatever nobody takes."""

    nodes: Sequence[Node]
    outputs: Sequence[str] = ()
    producers: dict[str, Node] = field(init=False)

    def __post_init__(self) -> None:
        self.producers = {name: node for node in self.nodes for name in node.outputs}
        if not self.outputs:
            taken = {name for node in self.nodes for name in node.inputs}
            self.outputs = [name for name in self.producers if name not in taken]

    def checkpoint(self, meta: Mapping[str, str] | None = None) -> Checkpoint:
        """The network of this graph. Raises CheckpointError when it is no U²-Net."""
        order = self.order()
        sigmoid = any(node.kind.lower() in ("sigmoid", "logistic") for node in order)
        pairs = [(conv.kernel, conv.bias) for conv in _folded(order)]
        if not pairs:
            raise CheckpointError("not a U²-Net: no convolution with constant weights leads to an output")
        return Checkpoint.from_folded(pairs, final="sigmoid" if sigmoid else "none", meta=meta)

    def activations(self) -> list[str]:
        """For each convolution, in order, the value that is its unit's activation: behind its norm and its ReLU."""
        order = self.order()
        last: dict[str, str] = {}  # the convolution's own value -> the last one that still belongs to it
        origin: dict[str, str] = {}
        for node in order:
            first = node.inputs[0] if node.inputs else ""
            if isinstance(node.role, Conv):
                origin[node.outputs[0]] = last[node.outputs[0]] = node.outputs[0]
            elif first in origin and (
                isinstance(node.role, Affine) or node.kind in MOVING or node.kind.lower() == "relu"
            ):
                origin[node.outputs[0]] = origin[first]
                last[origin[first]] = node.outputs[0]
        return list(last.values())

    def order(self) -> list[Node]:
        """The nodes that lead to an output, in the order of `Architecture.units()` whatever the file's order is.

        The blocks are one chain, so only the sides could come in another order. Outputs with more convolutions behind
        them go first: the fusion (whose inputs then come in the order in which it concatenates them), or side 1, 2, ….
        """
        depth = {name: sum(isinstance(n.role, Conv) for n in self._before([name])) for name in self.outputs}
        return self._before(sorted(self.outputs, key=lambda name: -depth[name]))

    def _before(self, names: Iterable[str]) -> list[Node]:
        """Nodes that `names` need, inputs before users, first inputs first; a cycle is cut, not followed."""
        done: list[Node] = []
        seen: set[int] = set()
        stack: list[tuple[Node, bool]] = []
        for root in (self.producers.get(name) for name in names):
            stack.extend([(root, False)] if root else [])
            while stack:
                node, ready = stack.pop()
                if ready:
                    done.append(node)
                elif id(node) not in seen:
                    seen.add(id(node))
                    stack.append((node, True))
                    feeds = [self.producers[name] for name in reversed(node.inputs) if name in self.producers]
                    stack.extend((feed, False) for feed in feeds)
        return done


def _folded(order: Sequence[Node]) -> list[Conv]:
    """The convolutions in order, each with the affine maps that follow it with nothing in between but `MOVING`."""
    convs: dict[str, Conv] = {}  # by the last value that still belongs to it
    result: dict[str, Conv] = {}  # by the convolution's own value
    origin: dict[str, str] = {}
    for node in order:
        if isinstance(node.role, Conv):
            name = node.outputs[0]
            convs[name] = result[name] = node.role
            origin[name] = name
        elif isinstance(node.role, Affine) and node.inputs and node.inputs[0] in convs:
            source = node.inputs[0]
            conv = convs[source].then(node.role)
            convs[node.outputs[0]] = result[origin[source]] = conv
            origin[node.outputs[0]] = origin[source]
        elif node.kind in MOVING and node.inputs and node.inputs[0] in convs:
            for name in node.outputs:
                convs[name], origin[name] = convs[node.inputs[0]], origin[node.inputs[0]]
    return list(result.values())
