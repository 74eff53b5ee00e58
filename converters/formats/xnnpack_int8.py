"""A graph of XNNPACK with some convolutions in int8, as its own quantizer writes them: maps of 8 bits between them.

The network is equalised first, so one scale serves every feature map: maps are pooled, upsampled, concatenated and
added as bytes. Kernels are int8 per output channel, biases int32.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from u2net_zoo.arch import Unit
from u2net_zoo.checkpoint import Checkpoint

from ..options import Options
from ..quantise.integer_layers import SCALE
from ..quantise.rounding import int8_codes
from .xnnpack_graph import Map, Walk
from .xnnpack_payload import Payload, Scales, Tensor
from .xnnpack_schema import DataType, NodeKind

__all__ = ["integer_graph"]

ZERO = -128  # what stands for 0: no map is below
MAPS = Scales(np.array([SCALE], np.float32), ZERO)
LARGEST = 2**31 - 1


def integer_graph(level: Checkpoint, options: Options, eight: Collection[str]) -> Payload:
    """The graph of an equalised network whose units `eight` (paths) are int8; it takes and answers float32."""
    return _Integers(level.fold(), options, frozenset(eight)).payload()


class _Integers(Walk):
    def __init__(self, checkpoint: Checkpoint, options: Options, eight: frozenset[str]):
        super().__init__(checkpoint, options)
        self.eight = eight
        self.turned: dict[int, int] = {}  # value -> the same in the other type

    def integers(self, x: int) -> bool:
        return self.tensors[x].dtype == DataType.qint8

    def turn(self, x: int, integers: bool) -> int:
        """The value in the type that is asked for."""
        if self.integers(x) == integers:
            return x
        if x not in self.turned:
            y = self.turned[x] = self.map_of(self.tensors[x].shape, integers)
            self.note(NodeKind.Convert, {0: x, 1: y})
        return self.turned[x]

    def map_of(self, shape: tuple[int, ...], integers: bool) -> int:
        y = self.value(shape)
        if integers:
            self.tensors[y] = replace(self.tensors[y], dtype=DataType.qint8, scales=MAPS)
        return y

    def answer(self, logits: Map) -> int:
        return self.turn(logits.id, integers=False)

    def conv(self, unit: Unit, x: Map) -> Map:
        if unit.path not in self.eight:
            return super().conv(unit, Map(self.turn(x.id, integers=False)))
        kernel, bias = (self.checkpoint.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
        codes, scale = int8_codes(kernel)
        both = (scale * SCALE).astype(np.float32)  # of what is added up
        whole = np.rint(bias.astype(np.float64) / both).clip(-LARGEST, LARGEST).astype("<i4")
        ids = (
            self.constant(DataType.qcint8, np.ascontiguousarray(codes.transpose(0, 2, 3, 1)), scale),
            self.constant(DataType.qcint32, whole, both),
        )
        given = self.turn(x.id, integers=True)
        return self.convolved(unit, given, *ids, self.map_of(self.convolved_shape(unit, given), integers=True))

    def constant(self, dtype: DataType, data: np.ndarray, scale: np.ndarray) -> int:
        n = self.value(data.shape)
        self.tensors[n] = Tensor(data.shape, dtype, data, Scales(scale, 0, 0))
        return n

    def concat(self, *maps: Map) -> Map:
        eight = any(self.integers(each.id) for each in maps)
        return super().concat(*(Map(self.turn(each.id, eight)) for each in maps))

    def add(self, a: Map, b: Map) -> Map:
        eight = self.integers(a.id) and self.integers(b.id)
        return super().add(*(Map(self.turn(each.id, eight)) for each in (a, b)))
