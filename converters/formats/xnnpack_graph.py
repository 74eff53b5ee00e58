"""A checkpoint as a graph of XNNPACK, from the architecture's own walk: node for node what ExecuTorch's exporter makes.

That exporter takes 35 s of a processor for u2netp and starts a compiler of tables; `--via executorch` is it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from u2net_zoo.arch import POOL, RSU, Unit
from u2net_zoo.checkpoint import Checkpoint

from ..options import DEFAULT_SIZE, Options, output_names
from .xnnpack_payload import Node, Payload, Tensor
from .xnnpack_schema import KEEP_DIMS, MOST_JOINED, Cat, Conv, NodeKind, Pooling, Resize, Transpose

__all__ = ["Map", "Walk", "xnnpack_graph"]

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
JOINS = {2: NodeKind.Concatenate2, 3: NodeKind.Concatenate3, 4: NodeKind.Concatenate4, 5: NodeKind.Concatenate5}
JOINED = (1, 2, 3, 4, 7)  # fields of what is joined


def xnnpack_graph(checkpoint: Checkpoint, options: Options) -> Payload:
    """The graph in float32 for settled options. It takes and answers channels first; inside they are last."""
    return Walk(checkpoint.fold(), options).payload()


@dataclass(frozen=True)
class Map:
    """A feature map: the id of its value, of shape (N, H, W, C)."""

    id: int


class Walk:
    """Ops of an architecture's walk that note XNNPACK's nodes."""

    def __init__(self, checkpoint: Checkpoint, options: Options):
        self.checkpoint, self.options = checkpoint, options
        self.tensors: dict[int, Tensor] = {}
        self.nodes: list[Node] = []

    def payload(self) -> Payload:
        arch, size = self.checkpoint.arch, self.options.size or DEFAULT_SIZE
        image = self.value((self.options.batch or 1, arch.in_ch, *size))
        names = output_names(arch, self.options)
        maps = arch.run(self, Map(self.transposed(image, TO_LAST)))
        answers = []
        for _, logits in zip(names, maps, strict=False):
            answer = self.answer(logits)
            if arch.final == "sigmoid":
                answer = self.unary(NodeKind.Sigmoid, answer)
            answers.append(self.transposed(answer, TO_FIRST))
        return self.needed(Payload(self.tensors, tuple(self.nodes), (image, *answers), 1))

    def answer(self, logits: Map) -> int:
        """The id of an output's logits in float32."""
        return logits.id

    def needed(self, payload: Payload) -> Payload:
        """Without the nodes that lead to no answer, and their values."""
        wanted = set(payload.externals)
        nodes: list[Node] = []
        for node in reversed(payload.nodes):
            if node.output in wanted:
                wanted |= set(node.inputs)
                nodes.append(node)
        tensors = {n: tensor for n, tensor in payload.tensors.items() if n in wanted}
        return Payload(tensors, tuple(reversed(nodes)), payload.externals, payload.taken)

    def value(self, shape: tuple[int, ...], like: int | None = None, data: np.ndarray | None = None) -> int:
        """A new value; of the type and scales of the value `like`."""
        n = len(self.tensors)
        old = self.tensors[like] if like is not None else Tensor(())
        self.tensors[n] = Tensor(shape, old.dtype, data, old.scales)
        return n

    def note(self, kind: NodeKind, fields: Mapping[int, object], bounds: tuple[float, float] | None = None) -> None:
        self.nodes.append(Node(kind, fields, bounds))

    def unary(self, kind: NodeKind, x: int) -> int:
        y = self.value(self.tensors[x].shape, like=x)
        self.note(kind, {0: x, 1: y})
        return y

    def transposed(self, x: int, order: tuple[int, ...]) -> int:
        shape = self.tensors[x].shape
        y = self.value(tuple(shape[axis] for axis in order), like=x)
        places: dict[int, object] = {Transpose.rank: len(order), Transpose.order: np.array(order, "<u4")}
        self.note(NodeKind.StaticTranspose, {**places, Transpose.x: x, Transpose.y: y})
        return y

    def conv(self, unit: Unit, x: Map) -> Map:
        kernel, bias = (self.checkpoint.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
        kernel = np.ascontiguousarray(kernel.transpose(0, 2, 3, 1).astype("<f4", copy=False))
        ids = (self.value(kernel.shape, data=kernel), self.value(bias.shape, data=bias.astype("<f4", copy=False)))
        return self.convolved(unit, x.id, *ids, self.value(self.convolved_shape(unit, x.id)))

    def convolved_shape(self, unit: Unit, x: int) -> tuple[int, ...]:
        batch, *sides, _ = self.tensors[x].shape
        reach = unit.dilation * (unit.kernel - 1)
        return batch, *((side + 2 * unit.padding - reach - 1) // unit.stride + 1 for side in sides), unit.out_ch

    def convolved(self, unit: Unit, x: int, kernel: int, bias: int, y: int) -> Map:
        fields: dict[int, object] = {Conv.inputs: unit.in_ch, Conv.outputs: unit.out_ch, Conv.groups: 1}
        for places, value in (
            ((Conv.top, Conv.right, Conv.bottom, Conv.left), unit.padding),
            ((Conv.kernel_height, Conv.kernel_width), unit.kernel),
            ((Conv.stride_height, Conv.stride_width), unit.stride),
            ((Conv.dilation_height, Conv.dilation_width), unit.dilation),
        ):
            fields |= dict.fromkeys(places, value)
        fields |= {Conv.x: x, Conv.filter: kernel, Conv.bias: bias, Conv.y: y}
        self.note(NodeKind.Conv2d, fields, (0.0, inf) if unit.relu else None)
        return Map(y)

    def pool(self, x: Map) -> Map:
        """Rounded up: a last odd row or column is a window of its own, padded by what is never the largest."""
        batch, *sides, channels = self.tensors[x.id].shape
        y = self.value((batch, *(-(-side // POOL) for side in sides), channels), like=x.id)
        fields: dict[int, object] = dict.fromkeys(
            (Pooling.height, Pooling.width, Pooling.stride_height, Pooling.stride_width), POOL
        )
        fields |= {Pooling.bottom: sides[0] % POOL, Pooling.right: sides[1] % POOL}
        fields |= dict.fromkeys((Pooling.dilation_height, Pooling.dilation_width), 1)
        self.note(NodeKind.MaxPooling2d, {**fields, Pooling.x: x.id, Pooling.y: y, Pooling.flags: KEEP_DIMS})
        return Map(y)

    def upsample(self, x: Map, like: Map) -> Map:
        (batch, *sides, channels), (_, height, width, _) = (self.tensors[each.id].shape for each in (x, like))
        if sides == [height, width]:
            return x
        y = self.value((batch, height, width, channels), like=x.id)
        fields: dict[int, object] = {Resize.height: height, Resize.width: width, Resize.x: x.id, Resize.y: y}
        self.note(NodeKind.StaticResizeBilinear2D, fields)
        return Map(y)

    def concat(self, *maps: Map) -> Map:
        first, rest = maps[:MOST_JOINED], maps[MOST_JOINED:]
        batch, height, width, _ = self.tensors[maps[0].id].shape
        channels = sum(self.tensors[each.id].shape[3] for each in first)
        y = self.value((batch, height, width, channels), like=maps[0].id)
        fields = {Cat.axis: 3, Cat.y: y} | {place: each.id for place, each in zip(JOINED, first, strict=False)}
        self.note(JOINS[len(first)], fields)
        return self.concat(Map(y), *rest) if rest else Map(y)

    def add(self, a: Map, b: Map) -> Map:
        y = self.value(self.tensors[a.id].shape, like=a.id)
        self.note(NodeKind.Add, {0: a.id, 1: b.id, 2: y})
        return Map(y)

    def block(self, block: RSU, x: Map) -> Map:
        return block.run(self, x)
