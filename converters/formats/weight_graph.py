"""A foreign graph as far as weights need it: who feeds whom, and which nodes hold a convolution.

Readers list the nodes of their graphs; the walk finds the order in which the convolutions run, folds what is left of
batch norm into them, and hands the list to `folded.checkpoint_of`.
"""

import functools
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.batch_norm import Affine
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, NotANetworkError
from u2net_zoo.folded import checkpoint_of

from ..embedded import ARITHMETIC, QUANTISED
from . import other_activations

__all__ = ["Affine", "Conv", "Graph", "Node", "beside_constant"]

# What only moves values about: a bias may come behind it, as TensorFlow writes a dilated convolution.
MOVING = frozenset(
    ("BATCH_TO_SPACE_ND", "BatchToSpaceND", "STRIDED_SLICE", "Identity", "Cast", "cast", "Convert", "Split")
)


MOST = 2000  # convolutions; the family's largest published networks have 119
SIGMOIDS = ("sigmoid", "logistic", "qlinearsigmoid")


@dataclass(frozen=True)
class Conv:
    """A convolution.

    Attributes:
        kernel: OIHW, real values.
        bias: (O,), or None.
        storage: how integers store the kernel: `int8 per channel`.
        dilation: 0 where the file does not say.
        computes: the integers of the maps that it takes and gives, `int8`; empty where they are floats.
    """

    kernel: np.ndarray
    bias: np.ndarray | None = None
    storage: str = ""
    dilation: int = 0
    computes: str = ""

    def then(self, after: Affine) -> "Conv":
        """This convolution with what follows it folded in; in float64, rounded once."""
        with np.errstate(all="ignore"):  # what is not finite is refused later, with the unit's name
            kernel, bias = after.folded_into(self.kernel, self.bias)
            return replace(self, kernel=kernel.astype(np.float32), bias=bias.astype(np.float32))


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: its name in its own framework.
        inputs: names of the values that it takes; constants may be left out.
        outputs: names of the values that it makes.
        role: what it does to weights, None for everything without any.
        spread: by how much it moves pixels apart, into the batch, for the convolution that follows: TensorFlow's way to
            write a dilation.
        fused: the kind of the activation that is part of it, where that is no ReLU.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    role: Conv | Affine | None = None
    spread: int = 1
    fused: str = ""


def beside_constant(
    inputs: Sequence[str], values: Sequence[np.ndarray | None], *, product: bool
) -> tuple[Affine | None, tuple[str, ...]]:
    """Of a sum or a product of two inputs: its affine map and the one input that is computed.

    Args:
        values: of each input; None for what is computed.

    Returns:
        None and both inputs, where neither is constant.
    """
    value = values[0] if values[1] is None else values[1]
    if value is None:
        return None, tuple(inputs)
    role = Affine(value, 0.0) if product else Affine(1.0, value)
    return role, (inputs[1 if values[1] is None else 0],)


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
        sigmoid = any(node.kind.lower() in SIGMOIDS for node in self.order())
        convolutions = self.convolutions()
        if not convolutions:
            raise NotANetworkError("not a U²-Net: no convolution with constant weights leads to an output")
        pairs = [(conv.kernel, conv.bias) for conv in convolutions]
        dilations = [conv.dilation for conv in convolutions]
        checkpoint = checkpoint_of(pairs, dilations=dilations, final="sigmoid" if sigmoid else "none", meta=meta)
        self.refuse_other_activations(checkpoint.arch)
        notes = {QUANTISED: quantised_note(convolutions), ARITHMETIC: arithmetic_note(convolutions)}
        return checkpoint.with_meta(**{key: note for key, note in notes.items() if note})

    def convolutions(self) -> list[Conv]:
        """The convolutions in order, with the batch norm that follows each folded in."""
        found = _fold(self.order(), self.producers)
        return [*found[:-1], replace(found[-1], kernel=self.arranged(found[-1].kernel))] if found else found

    def arranged(self, kernel: np.ndarray) -> np.ndarray:
        """The fusion's kernel for sides in our order; the file's takes them as the file concatenates them."""
        sides, fusion = self._heads
        if fusion is None or len(sides) < 2:
            return kernel
        reached = self._joined(fusion.inputs[0], sides)
        if sorted(reached) != sorted(sides) or kernel.shape[1] % len(sides):
            raise CheckpointError("the order in which its side outputs are fused is unknown")
        parts = kernel.reshape(kernel.shape[0], len(sides), -1, *kernel.shape[2:])[:, [reached.index(s) for s in sides]]
        return np.ascontiguousarray(parts.reshape(kernel.shape))

    def _joined(self, name: str, sides: Sequence[str]) -> list[str]:
        """The sides of which a value is made, in order. Of other operations the first input is the data; the rest may
        be a size that was taken from another side."""
        found: list[str] = []
        seen: set[str] = set()
        stack = [name]
        while stack:
            name = stack.pop()
            node = self.producers.get(name)
            if name in seen or node is None:
                continue
            seen.add(name)
            if name in sides:
                found.append(name)
            else:
                stack.extend(reversed(node.inputs if "concat" in node.kind.lower() else node.inputs[:1]))
        return found

    def dilations(self) -> list[int]:
        """Of the convolutions in order."""
        return [conv.dilation for conv in self.convolutions()]

    def refuse_other_activations(self, arch: Architecture) -> None:
        """Raises NotANetworkError where something else than ReLU follows a convolution of a block."""
        origin: dict[str, str] = {}
        kinds: dict[str, str] = {}  # the convolution's own value -> what follows it
        for node in self.order():
            first = node.inputs[0] if node.inputs else ""
            if isinstance(node.role, Conv):
                origin[node.outputs[0]] = node.outputs[0]
                kinds[node.outputs[0]] = node.fused
            elif first in origin and other_activations.is_other(node.kind):
                kinds[origin[first]] = node.kind
            elif first in origin and (isinstance(node.role, Affine) or node.kind in MOVING):
                origin |= dict.fromkeys(node.outputs, origin[first])
                kinds[origin[first]] = kinds[origin[first]] or node.fused
        other_activations.refuse(arch.units(), list(kinds.values()))

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

        The blocks are one chain, so only the sides could come in another order: the one with most convolutions before
        it is side 1, at the chain's end.
        """
        return self._before([*self._heads[0], *self.outputs])

    @functools.cached_property
    def _heads(self) -> tuple[list[str], Node | None]:
        """The values of the convolutions that nothing follows but the fusion, in the order of sides; and the fusion."""
        before: dict[str, int] = {}  # value -> a bit for each convolution that leads to it
        found: list[Node] = []
        for node in self._before(self.outputs):
            bits = functools.reduce(operator.or_, (before.get(name, 0) for name in node.inputs), 0)
            if isinstance(node.role, Conv):
                before |= dict.fromkeys(node.outputs, bits | 1 << len(found))
                found.append(node)
                if len(found) > MOST:
                    raise NotANetworkError(f"not a U²-Net: more than {MOST} convolutions")
            else:
                before |= dict.fromkeys(node.outputs, bits)
        after = [[b for b in found if b is not a and before[b.outputs[0]] >> n & 1] for n, a in enumerate(found)]
        ends = [node for node, follows in zip(found, after, strict=True) if not follows]
        fusion = ends[0] if len(ends) == 1 and _is_pointwise(ends[0]) else None
        sides = ends if fusion is None else [n for n, follows in zip(found, after, strict=True) if follows == [fusion]]
        names = sorted((node.outputs[0] for node in sides), key=lambda name: -before[name].bit_count())
        return names, fusion

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


def quantised_note(convolutions: Sequence[Conv]) -> str:
    """`int8 per channel in 111 of 119 convolutions`; empty where every kernel is stored in floats."""
    stored = [conv.storage for conv in convolutions]
    for n, conv in enumerate(convolutions):
        channels = stored[n].replace("per tensor", "per channel")
        if len(conv.kernel) == 1 and channels in stored:  # of one channel it is both: as the others are
            stored[n] = channels
    counts = Counter(filter(None, stored)).most_common()
    return ", ".join(f"{storage} in {count} of {len(stored)} convolutions" for storage, count in counts)


def arithmetic_note(convolutions: Sequence[Conv]) -> str:
    """`int8 in 117 of 119 convolutions, int16 activations in 2`; empty where all are computed in floats."""
    counts = Counter(conv.computes for conv in convolutions if conv.computes)
    wide, narrow = counts.pop("int16", 0), sum(counts.values())
    parts = [f"{' or '.join(sorted(counts))} in {narrow} of {len(convolutions)} convolutions"] if narrow else []
    if wide:
        parts.append(f"int16 activations in {wide}" + ("" if narrow else f" of {len(convolutions)} convolutions"))
    return ", ".join(parts)


def _is_pointwise(node: Node) -> bool:
    return isinstance(node.role, Conv) and node.role.kernel.shape[2:] == (1, 1)


def _fold(order: Sequence[Node], producers: Mapping[str, Node]) -> list[Conv]:
    """The convolutions in order, each with the affine maps that follow it with nothing in between but `MOVING`."""
    convs: dict[str, Conv] = {}  # by the last value that still belongs to it
    result: dict[str, Conv] = {}  # by the convolution's own value
    origin: dict[str, str] = {}
    for node in order:
        if isinstance(node.role, Conv):
            name = node.outputs[0]
            spread = producers[node.inputs[0]].spread if node.inputs and node.inputs[0] in producers else 1
            convs[name] = result[name] = replace(node.role, dilation=node.role.dilation * spread)
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
