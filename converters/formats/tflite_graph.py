"""A network in integers as a TFLite file, written from the architecture's own walk; TensorFlow is not needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL, RSU, Unit

from ..options import DEFAULT_SIZE, Options, output_names
from ..quantise.integer_network import IntegerNetwork, Steps
from .flat_tables import Aligned, Packed, packed
from .tflite_metadata import ENTRY, packed_words
from .tflite_schema import (
    VERSIONS,
    Buffer,
    Code,
    ConvField,
    Data,
    Entry,
    Kind,
    Model,
    OperatorField,
    PoolField,
    Quantization,
    ResizeField,
    Signature,
    Subgraph,
    TensorField,
)
from .tflite_schema import Options as Table

__all__ = ["integer_bytes"]

SAME, VALID = np.int8(0), np.int8(1)
RELU = np.int8(1)
IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
SCHEMA = np.uint32(3)
CHANNELS = 3  # the axis; a file has channels last
PROBABILITY = {"int8": Steps(np.dtype("int8"), 1 / 256, -128), "int16": Steps(np.dtype("int16"), 1 / 32768, 0)}
PIXELS = Steps(np.dtype("uint8"), 1 / 256, 0)  # of the mask that comes out of a file of pictures


def integer_bytes(network: IntegerNetwork, options: Options, words: Mapping[str, str]) -> bytes:
    """The whole file for settled options. The same on every machine. Tensors are called after the units.

    Args:
        words: what it says of itself.
    """
    return _Writer(network, options).content(words)


@dataclass(frozen=True)
class _Map:
    """A feature map: the index of its tensor, its size (H, W), its channels and its steps."""

    tensor: int
    size: tuple[int, int]
    channels: int
    steps: Steps


class _Writer:
    """Ops of an architecture's walk that note TFLite's operators."""

    def __init__(self, network: IntegerNetwork, options: Options):
        self.network, self.options = network, options
        self.buffers: list[np.ndarray | None] = [None]  # the first one is everybody's who has none
        self.tensors: list[Packed] = []
        self.names: list[str] = []
        self.operators: list[Packed] = []
        self.codes: list[tuple[Kind, int]] = []

    def content(self, words: Mapping[str, str]) -> bytes:
        inputs, outputs = self.walk()
        graph: dict[int, Any] = {
            Subgraph.tensors: self.tensors,
            Subgraph.inputs: np.array(list(inputs.values()), "<i4"),
            Subgraph.outputs: np.array(list(outputs.values()), "<i4"),
            Subgraph.operators: self.operators,
        }
        entry: dict[int, Any] = {Entry.called: ENTRY, Entry.index: np.uint32(self.buffer(packed_words(words)))}
        fields: dict[int, Any] = {
            Model.version: SCHEMA,
            Model.codes: [
                Packed({Code.short: np.int8(kind), Code.version: version, Code.kind: int(kind)})
                for kind, version in self.codes
            ],
            Model.subgraphs: [Packed(graph)],
            Model.description: "u2zoo",
            Model.buffers: [Packed({} if each is None else {Buffer.data: Aligned(each)}) for each in self.buffers],
            Model.metadata: [Packed(entry)],
            Model.signatures: [
                Packed(
                    {
                        Signature.inputs: _named(inputs),
                        Signature.outputs: _named(outputs),
                        Signature.key: SIGNATURE,
                    }
                )
            ],
        }
        return bytes(packed(Packed(fields), IDENTIFIER))

    def walk(self) -> tuple[dict[str, int], dict[str, int]]:
        """Notes the whole graph; returns its inputs and its outputs, name -> tensor."""
        arch, size = self.network.arch, self.options.size or DEFAULT_SIZE
        steps, pictures = self.network.image, self.options.io == "image"
        if pictures:  # the same integers with 128 added, the same steps
            steps = replace(steps, dtype=np.dtype("uint8"), zero=steps.zero + 128)
        image = self.map("image", size, arch.in_ch, steps)
        fed = self.stepped(image, self.network.image)
        names = output_names(arch, self.options)
        outputs = {}
        for name, logits in zip(names, arch.run(self, fed), strict=False):
            answer = logits
            if arch.final == "sigmoid":
                to = PROBABILITY[logits.steps.dtype.name]
                answer = self.emit(Kind.LOGISTIC, f"{name}.sigmoid", [logits], logits, to)
            answer = self.stepped(answer, PIXELS if pictures else answer.steps)
            outputs[name] = answer.tensor
        return {"image": image.tensor}, outputs

    def buffer(self, data: np.ndarray) -> int:
        self.buffers.append(np.ascontiguousarray(data).reshape(-1).view(np.uint8))
        return len(self.buffers) - 1

    def tensor(self, name: str, shape: Sequence[int], data: Data, buffer: int = 0, **how: Any) -> int:
        """Notes a tensor; returns its index.

        Args:
            how: `scale`, `zero` and the `axis` of scales, where it has several.
        """
        fields: dict[int, Any] = {
            TensorField.shape: np.array(shape, "<i4"),
            TensorField.data: np.int8(data),
            TensorField.buffer: np.uint32(buffer),
            TensorField.called: name,
            TensorField.has_rank: True,
        }
        if how:
            scale = np.atleast_1d(np.asarray(how["scale"], "<f4"))
            zero = np.full(scale.size, how.get("zero", 0), "<i8")
            fields[TensorField.quantization] = Packed(
                {Quantization.scale: scale, Quantization.zero: Aligned(zero), Quantization.axis: how.get("axis", 0)}
            )
        self.tensors.append(Packed(fields))
        self.names.append(name)
        return len(self.tensors) - 1

    def map(self, name: str, size: tuple[int, int], channels: int, steps: Steps) -> _Map:
        shape = (self.options.batch or 1, *size, channels)
        tensor = self.tensor(name, shape, Data[steps.dtype.name], scale=steps.scale, zero=steps.zero)
        return _Map(tensor, size, channels, steps)

    def constant(self, name: str, value: np.ndarray, **how: Any) -> int:
        return self.tensor(name, value.shape, Data[value.dtype.name], self.buffer(value), **how)

    def emit(
        self,
        kind: Kind,
        name: str,
        inputs: Sequence["_Map | int"],
        like: _Map,
        steps: Steps,
        options: tuple[Table, dict[int, Any]] = (Table.NONE, {}),
    ) -> _Map:
        """Notes an operator; its output has the size and the channels of `like`."""
        result = self.map(name, like.size, like.channels, steps)
        wide = any(isinstance(each, _Map) and each.steps.dtype == np.int16 for each in inputs)
        code = (kind, VERSIONS[kind][wide])
        if code not in self.codes:
            self.codes.append(code)
        table, fields = options
        self.operators.append(
            Packed(
                {
                    OperatorField.code: np.uint32(self.codes.index(code)),
                    OperatorField.inputs: np.array([getattr(each, "tensor", each) for each in inputs], "<i4"),
                    OperatorField.outputs: np.array([result.tensor], "<i4"),
                }
                | (
                    {OperatorField.options_kind: np.uint8(table), OperatorField.options: Packed(fields)}
                    if table
                    else {}
                )
            )
        )
        return result

    def stepped(self, x: _Map, steps: Steps) -> _Map:
        """`x` in other steps."""
        if x.steps == steps:
            return x
        name = f"{self.names[x.tensor]}.{steps.dtype.name}"
        return self.emit(Kind.QUANTIZE, name, [x], x, steps, (Table.Quantize, {}))

    def conv(self, unit: Unit, x: _Map) -> _Map:
        found = self.network.units[unit.path]
        x = self.stepped(x, found.given)
        x = self.concat(*[x] * found.copies) if found.copies > 1 else x
        padding = SAME
        if unit.stride > 1:  # TFLite's own padding would stand on one side alone
            x, padding = self.padded(x, unit.padding), VALID
        codes = np.ascontiguousarray(found.codes.transpose(0, 2, 3, 1))
        key = unit.conv_path
        kernel = self.constant(f"{key}.weight", codes, scale=found.scale)
        bias = self.constant(f"{key}.bias", found.whole_bias, scale=found.scale * np.float32(found.given.scale))
        fields: dict[int, Any] = {
            ConvField.padding: padding,
            ConvField.stride_x: unit.stride,
            ConvField.stride_y: unit.stride,
            ConvField.activation: RELU if unit.relu else np.int8(0),
            ConvField.dilation_x: unit.dilation,
            ConvField.dilation_y: unit.dilation,
        }
        height, width = ((side - unit.kernel) // unit.stride + 1 if unit.stride > 1 else side for side in x.size)
        like = _Map(-1, (height, width), unit.out_ch, found.answered)
        return self.emit(Kind.CONV_2D, unit.path, [x, kernel, bias], like, found.answered, (Table.Conv2D, fields))

    def padded(self, x: _Map, width: int) -> _Map:
        sides = self.constant(
            f"{self.names[x.tensor]}.pads", np.array([[0, 0], [width] * 2, [width] * 2, [0, 0]], "<i4")
        )
        height, across = (side + 2 * width for side in x.size)
        like = replace(x, size=(height, across))
        return self.emit(Kind.PAD, f"{self.names[x.tensor]}.pad", [x, sides], like, x.steps, (Table.Pad, {}))

    def pool(self, x: _Map) -> _Map:
        height, width = (-(-side // POOL) for side in x.size)
        fields: dict[int, Any] = {PoolField.padding: SAME}
        fields |= dict.fromkeys((PoolField.stride_x, PoolField.stride_y, PoolField.width, PoolField.height), POOL)
        like = replace(x, size=(height, width))
        name = f"{self.names[x.tensor]}.pool"
        return self.emit(Kind.MAX_POOL_2D, name, [x], like, x.steps, (Table.Pool2D, fields))

    def upsample(self, x: _Map, like: _Map) -> _Map:
        if x.size == like.size:
            return x
        size = self.constant(f"{self.names[x.tensor]}.size", np.array(like.size, "<i4"))
        fields: dict[int, Any] = {ResizeField.half_pixel_centers: True}
        result = replace(x, size=like.size)
        return self.emit(
            Kind.RESIZE_BILINEAR,
            f"{self.names[x.tensor]}.up",
            [x, size],
            result,
            x.steps,
            (Table.ResizeBilinear, fields),
        )

    def concat(self, *maps: _Map) -> _Map:
        """Of maps in the finest of their steps."""
        steps = min((each.steps for each in maps), key=lambda each: each.scale)
        maps = tuple(self.stepped(each, steps) for each in maps)
        like = replace(maps[0], channels=sum(each.channels for each in maps))
        options = (Table.Concatenation, {0: CHANNELS})
        return self.emit(Kind.CONCATENATION, f"{self.names[maps[0].tensor]}.concat", maps, like, steps, options)

    def add(self, a: _Map, b: _Map) -> _Map:
        name = f"{self.names[a.tensor]}.add"
        return self.emit(Kind.ADD, name, [a, self.stepped(b, a.steps)], a, a.steps, (Table.Add, {1: False}))

    def block(self, block: RSU, x: _Map) -> _Map:
        return block.run(self, x)


def _named(tensors: Mapping[str, int]) -> list[Packed]:
    return [Packed({Entry.called: name, Entry.index: np.uint32(index)}) for name, index in tensors.items()]
