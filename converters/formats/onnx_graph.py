"""A checkpoint as an ONNX graph, written from the architecture's own walk: no tracing, names are the network's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL, RSU, Unit
from u2net_zoo.checkpoint import Checkpoint

from ..embedded import embedded_of, metadata_of
from ..options import DEFAULT_SIZE, DYNAMIC, Options, output_names
from .onnx_message import FLOAT, UINT8, Attribute, Graph, Node, Tensor, model

__all__ = ["onnx_bytes"]

# Opset: the version of the file's own structure that came with it, as the tools of that time read it.
IR_VERSIONS = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9}
OPTIONAL_ROI = 13  # the opset from which Resize may go without it
AXES_AS_INPUT = 18  # the opset from which reductions take their axes as a tensor
ROI = "resize.roi"


def onnx_bytes(checkpoint: Checkpoint, options: Options) -> bytes:
    """The whole file in float32, for settled options. The same on every machine.

    Nodes and initialisers are called after the units: `stage1.rebnconvin`, `stage1.rebnconvin.conv_s1.weight`.
    """
    folded, opset = checkpoint.fold(), options.opset or max(IR_VERSIONS)
    graph = _Writer(folded, opset).graph(options)
    return model(graph, opset=opset, ir_version=IR_VERSIONS[opset], metadata=metadata_of(checkpoint, options))


@dataclass(frozen=True)
class _Map:
    """A feature map: the value that holds it and its size (H, W)."""

    value: str
    size: tuple[int, int]


class _Writer:
    """Ops of an architecture's walk that note ONNX's nodes."""

    def __init__(self, checkpoint: Checkpoint, opset: int):
        self.checkpoint, self.opset = checkpoint, opset
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def graph(self, options: Options) -> Graph:
        arch, (height, width) = self.checkpoint.arch, options.size or DEFAULT_SIZE
        embedded, batch = embedded_of(arch, options), "batch" if options.batch == DYNAMIC else options.batch or 1
        fed = _Map("image", (height, width))
        if embedded:
            pixels = _Value(self, self.emit("Cast", "pixels", ("image",), to=FLOAT))
            fed = _Map(embedded.before(_ProfileOps(self), pixels).name, fed.size)
        answers = [answer.value for answer in arch.run(self, fed)]
        names = output_names(arch, options)
        for name, logits in zip(names, answers, strict=False):
            if embedded:
                d0 = self.emit("Sigmoid", "d0", (logits,)) if arch.final == "sigmoid" else logits
                levels = embedded.after(_ProfileOps(self), _Value(self, d0))
                self.nodes.append(Node("Cast", f"{name}.levels", (levels.name,), name, {"to": UINT8}))
            else:  # `side1` is the name of a convolution already
                final = "Sigmoid" if arch.final == "sigmoid" else "Identity"
                self.nodes.append(Node(final, f"{name}.{final.lower()}", (logits,), name))
        kind, out_ch = (UINT8, 1) if embedded else (FLOAT, arch.out_ch)
        return Graph(
            arch.name,
            *self._used(names),
            [Tensor("image", kind, (batch, arch.in_ch, height, width))],
            [Tensor(name, kind, (batch, out_ch, height, width)) for name in names],
        )

    def emit(self, kind: str, name: str, inputs: tuple[str, ...], **attributes: Attribute) -> str:
        """Notes a node that is called as its value."""
        self.nodes.append(Node(kind, name, inputs, name, attributes))
        return name

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        self.constants[name] = np.asarray(value, dtype)
        return name

    def conv(self, unit: Unit, x: _Map) -> _Map:
        keys = tuple(f"{unit.conv_path}.{leaf}" for leaf in ("weight", "bias"))
        self.constants |= {key: self.checkpoint.state[key] for key in keys}
        value = f"{unit.path}.conv"
        attributes: dict[str, Attribute] = {
            "dilations": [unit.dilation] * 2,
            "group": 1,
            "kernel_shape": [unit.kernel] * 2,
            "pads": [unit.padding] * 4,
            "strides": [unit.stride] * 2,
        }
        self.nodes.append(Node("Conv", unit.path, (x.value, *keys), value, attributes))
        if unit.relu:
            value = self.emit("Relu", f"{unit.path}.relu", (value,))
        height, width = (-(-side // unit.stride) for side in x.size)
        return _Map(value, (height, width))

    def pool(self, x: _Map) -> _Map:
        height, width = (-(-side // POOL) for side in x.size)
        name = f"{x.value.removesuffix('.relu')}.pool"
        self.emit("MaxPool", name, (x.value,), ceil_mode=1, kernel_shape=[POOL] * 2, strides=[POOL] * 2)
        return _Map(name, (height, width))

    def upsample(self, x: _Map, like: _Map) -> _Map:
        if x.size == like.size:
            return x
        pairs = list(zip(x.size, like.size, strict=True))
        scales = self.constant(f"scale{pairs[0][0]}x{pairs[1][0]}to{pairs[0][1]}x{pairs[1][1]}", _scales(pairs))
        roi = "" if self.opset >= OPTIONAL_ROI else self.constant(ROI, [])
        name = f"{x.value.removesuffix('.relu')}.up"
        mode = {"coordinate_transformation_mode": "half_pixel", "mode": "linear", "nearest_mode": "floor"}
        self.nodes.append(Node("Resize", name, (x.value, roi, scales), name, mode))
        return _Map(name, like.size)

    def concat(self, *maps: _Map) -> _Map:
        name = f"{maps[0].value.removesuffix('.relu')}.concat"
        return _Map(self.emit("Concat", name, tuple(m.value for m in maps), axis=1), maps[0].size)

    def add(self, a: _Map, b: _Map) -> _Map:
        return _Map(self.emit("Add", f"{a.value.removesuffix('.relu')}.add", (a.value, b.value)), a.size)

    def block(self, block: RSU, x: _Map) -> _Map:
        return block.run(self, x)

    def _used(self, names: Iterable[str]) -> tuple[list[Node], dict[str, np.ndarray]]:
        """The nodes and constants that the outputs need."""
        wanted, kept = set(names), []
        for node in reversed(self.nodes):
            if node.output in wanted:
                wanted.update(node.inputs)
                kept.append(node)
        return kept[::-1], {name: value for name, value in self.constants.items() if name in wanted}


def _scales(pairs: Sequence[tuple[int, int]]) -> list[np.float32]:
    """Factors for N, C, H, W; runtimes round `factor x side` down, so the factor is never below the quotient."""
    factors = []
    for given, wanted in pairs:
        factor = np.float32(wanted / given)
        while float(factor) * given < wanted or factor * np.float32(given) < wanted:
            factor = np.nextafter(factor, np.float32(np.inf))
        factors.append(factor)
    return [np.float32(1), np.float32(1), *factors]


class _Value:
    """A value of the graph in the arithmetic of a profile; numbers beside it become constants."""

    def __init__(self, writer: _Writer, name: str):
        self.writer, self.name = writer, name

    def node(self, kind: str, *inputs: "_Value | float", **attributes: Attribute) -> "_Value":
        names = tuple(self.operand(item) for item in inputs)
        return _Value(
            self.writer, self.writer.emit(kind, f"profile.{kind}{len(self.writer.nodes)}", names, **attributes)
        )

    def operand(self, item: "_Value | float") -> str:
        return item.name if isinstance(item, _Value) else self.writer.constant(f"profile.{item!r}", item)

    def __sub__(self, other: "_Value | float") -> "_Value":
        return self.node("Sub", self, other)

    def __rsub__(self, other: float) -> "_Value":
        return self.node("Sub", other, self)

    def __truediv__(self, other: "_Value | float") -> "_Value":
        return self.node("Div", self, other)

    def __mul__(self, other: "_Value | float") -> "_Value":
        return self.node("Mul", self, other)

    def reduced(self, kind: str) -> "_Value":
        if self.writer.opset < AXES_AS_INPUT:
            return self.node(kind, self, axes=[1, 2, 3], keepdims=1)
        axes = _Value(self.writer, self.writer.constant("profile.axes", [1, 2, 3], np.int64))
        return self.node(kind, self, axes, keepdims=1)


class _ProfileOps:
    """See `embedded.Ops`."""

    def __init__(self, writer: _Writer):
        self.writer = writer

    def peak(self, x: _Value) -> _Value:
        return x.reduced("ReduceMax")

    def trough(self, x: _Value) -> _Value:
        return x.reduced("ReduceMin")

    def at_least(self, x: _Value, low: float) -> _Value:
        return x.node("Clip", x, low)

    def between(self, x: _Value, low: float, high: float) -> _Value:
        return x.node("Clip", x, low, high)

    def sigmoid(self, x: _Value) -> _Value:
        return x.node("Sigmoid", x)

    def per_channel(self, values: np.ndarray) -> _Value:
        return _Value(
            self.writer, self.writer.constant(f"profile.channels{len(self.writer.constants)}", values[:, None, None])
        )

    def largest_channel(self, x: _Value) -> _Value:
        return x.node("ArgMax", x, axis=1, keepdims=1)
