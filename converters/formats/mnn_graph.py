"""A checkpoint as an MNN graph, written from the architecture's own walk; the vendor's converter is not needed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from u2net_zoo.arch import POOL, RSU, Unit
from u2net_zoo.checkpoint import Checkpoint

from ..embedded import embedded_of, metadata_of
from ..options import DEFAULT_SIZE, DYNAMIC, Options, output_names
from .flat_tables import Packed, packed
from .mnn_kernels import stored_kernel
from .mnn_metadata import FAST, KERNELS, packed_words
from .mnn_profile import ProfileOps, Value
from .mnn_schema import (
    Binary,
    Blob,
    Common,
    Conv,
    DataType,
    Interp,
    Kind,
    Layouts,
    Net,
    Op,
    Parameter,
    Pool,
    Unary,
)

__all__ = ["mnn_bytes"]

VERSION = "3.6.1"  # of the schema that is written
ONNX = np.int8(3)  # of the schema's sources; channels first, as it has them
BILINEAR, HALF_PIXELS = 2, np.int8(2)


def mnn_bytes(checkpoint: Checkpoint, options: Options) -> bytearray:
    """The whole file for settled options: fp32, fp16, or int8 of a checkpoint whose kernels are rounded already.

    The same on every machine. Operations are called after the units: `stage1.rebnconvin`.
    """
    folded = checkpoint.fold()
    return _Writer(folded, options).content()


@dataclass(frozen=True)
class _Map:
    """A feature map: the index of its tensor and its size (H, W)."""

    tensor: int
    size: tuple[int, int]


class _Writer:
    """Ops of an architecture's walk that note MNN's operations, each with one tensor that is called as it is."""

    def __init__(self, checkpoint: Checkpoint, options: Options):
        self.checkpoint, self.options = checkpoint, options
        self.ops: list[Packed] = []
        self.names: list[str] = []

    def content(self) -> bytearray:
        names = self.walk()
        words = metadata_of(self.checkpoint, self.options) | {KERNELS: FAST}
        fields: dict[int, Any] = {
            Net.biz_code: "u2zoo",
            Net.extra_info: packed_words(words, VERSION),
            Net.ops: self.ops,
            Net.outputs: list(names),
            Net.source: ONNX,
            Net.tensors: self.names,
        }
        return packed(Packed(fields))

    def walk(self) -> tuple[str, ...]:
        """Notes the whole graph; returns the names of its outputs."""
        arch, size = self.checkpoint.arch, self.options.size or DEFAULT_SIZE
        embedded, batch = embedded_of(arch, self.options), -1 if self.options.batch == DYNAMIC else self.options.batch
        kind = DataType.uint8 if embedded else DataType.float
        shape = np.array([batch or 1, arch.in_ch, *size], "<i4")
        image = self.emit(Kind.Input, "image", (), Parameter.Input, {0: shape, 1: int(kind), 2: np.int8(Layouts.NCHW)})
        if embedded:
            pixels = Value(self, self.cast("pixels", image, DataType.float))
            image = embedded.before(ProfileOps(self), pixels).tensor
        fed = _Map(self.convert("image.packed", image, Layouts.NCHW, Layouts.NC4HW4), size)
        names = output_names(arch, self.options)
        for name, logits in zip(names, arch.run(self, fed), strict=False):
            final = "d0" if embedded else name
            answer = logits.tensor
            if arch.final == "sigmoid":
                answer = self.unary(f"{final}.sigmoid", answer, Unary.sigmoid)
            answer = self.convert(final, answer, Layouts.NC4HW4, Layouts.NCHW)
            if embedded:
                levels = embedded.after(ProfileOps(self), Value(self, answer))
                self.cast(name, levels.tensor, DataType.uint8)
        return names

    def emit(self, kind: Kind, name: str, inputs: tuple[int, ...], parameter: Parameter, fields: dict[int, Any]) -> int:
        """Notes an operation; returns the index of its tensor."""
        index = len(self.names)
        self.names.append(name)
        given = {Op.inputs: np.array(inputs, "<i4")} if inputs else {}
        layout = Layouts.NCHW if kind == Kind.Interp else Layouts.NHWC  # as the vendor's converter says
        self.ops.append(
            Packed(
                given
                | {
                    Op.parameter_kind: np.uint8(parameter),
                    Op.parameter: Packed(fields),
                    Op.called: name,
                    Op.outputs: np.array([index], "<i4"),
                    Op.kind: int(kind),
                    Op.layout: np.int8(layout),
                }
            )
        )
        return index

    def convert(self, name: str, x: int, source: Layouts, to: Layouts) -> int:
        fields = {0: np.int8(source), 1: np.int8(to)}
        return self.emit(Kind.ConvertTensor, name, (x,), Parameter.TensorConvertInfo, fields)

    def cast(self, name: str, x: int, to: DataType) -> int:
        return self.emit(Kind.Cast, name, (x,), Parameter.CastParam, {1: int(to)})

    def unary(self, name: str, x: int, kind: Unary) -> int:
        return self.emit(Kind.UnaryOp, name, (x,), Parameter.UnaryOp, {0: int(kind)})

    def binary(self, name: str, a: int, b: int, kind: Binary) -> int:
        fields = {0: int(kind), 1: int(DataType.float)}
        return self.emit(Kind.BinaryOp, name, (a, b), Parameter.BinaryOp, fields)

    def constant(self, name: str, value: Any) -> int:
        array = np.asarray(value, "<f4")
        dims = np.array(array.shape, "<i4")
        fields = {Blob.dims: dims, Blob.layout: np.int8(Layouts.NCHW), Blob.data_type: int(DataType.float)}
        return self.emit(Kind.Const, name, (), Parameter.Blob, fields | {Blob.float32s: array})

    def conv(self, unit: Unit, x: _Map) -> _Map:
        kernel, bias = (self.checkpoint.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
        common: dict[int, Any] = {Common.outputs: unit.out_ch, Common.inputs: unit.in_ch, Common.relu: unit.relu}
        for fields, value in (
            ((Common.pad_x, Common.pad_y), unit.padding),
            ((Common.kernel_x, Common.kernel_y), unit.kernel),
            ((Common.stride_x, Common.stride_y), unit.stride),
            ((Common.dilate_x, Common.dilate_y), unit.dilation),
        ):
            common |= dict.fromkeys(fields, value)
        common[Common.pads] = np.full(4, unit.padding, "<i4")
        parameter = {
            Conv.common: Packed(common),
            **stored_kernel(kernel, self.options.precision or "fp32"),
            Conv.bias: bias.astype("<f4", copy=False),
        }
        outputs = output_names(self.checkpoint.arch, self.options)  # the engine finds tensors by their names alone
        name = f"{unit.path}.conv" if unit.path in outputs else unit.path
        index = self.emit(Kind.Convolution, name, (x.tensor,), Parameter.Convolution2D, parameter)
        height, width = (-(-side // unit.stride) for side in x.size)
        return _Map(index, (height, width))

    def pool(self, x: _Map) -> _Map:
        fields: dict[int, Any] = dict.fromkeys((Pool.kernel_x, Pool.kernel_y, Pool.stride_x, Pool.stride_y), POOL)
        fields |= {Pool.data_type: int(DataType.float), Pool.ceil: True}
        index = self.emit(Kind.Pooling, f"{self.names[x.tensor]}.pool", (x.tensor,), Parameter.Pool, fields)
        height, width = (-(-side // POOL) for side in x.size)
        return _Map(index, (height, width))

    def upsample(self, x: _Map, like: _Map) -> _Map:
        if x.size == like.size:
            return x
        fields: dict[int, Any] = {
            Interp.width: like.size[1],
            Interp.height: like.size[0],
            Interp.kind: BILINEAR,
            Interp.half_pixels: True,
            Interp.coordinates: HALF_PIXELS,
        }
        index = self.emit(Kind.Interp, f"{self.names[x.tensor]}.up", (x.tensor,), Parameter.Interp, fields)
        return _Map(index, like.size)

    def concat(self, *maps: _Map) -> _Map:
        name = f"{self.names[maps[0].tensor]}.concat"
        return _Map(self.emit(Kind.Concat, name, tuple(m.tensor for m in maps), Parameter.Axis, {0: 1}), maps[0].size)

    def add(self, a: _Map, b: _Map) -> _Map:
        return _Map(self.binary(f"{self.names[a.tensor]}.add", a.tensor, b.tensor, Binary.add), a.size)

    def block(self, block: RSU, x: _Map) -> _Map:
        return block.run(self, x)
