"""What a profile does to pixels and to d0, in MNN's operations. See `embedded.Ops`."""

from typing import Any, Protocol

import numpy as np

from u2net_zoo.errors import OptionError

from .mnn_schema import Binary, Kind, Parameter, Unary

__all__ = ["NO_CLASSES", "ProfileOps", "Value", "Writer"]

MAXIMUM, MINIMUM = np.int8(4), np.int8(5)  # of `ReductionType`
NO_CLASSES = "format 'mnn' cannot honour --io image for classes; take --io tensor"
GREATEST = float(np.finfo(np.float32).max)


class Writer(Protocol):
    """What notes operations; see `mnn_graph`."""

    names: list[str]

    def emit(
        self, kind: Kind, name: str, inputs: tuple[int, ...], parameter: Parameter, fields: dict[int, Any]
    ) -> int: ...
    def unary(self, name: str, x: int, kind: Unary) -> int: ...
    def binary(self, name: str, a: int, b: int, kind: Binary) -> int: ...
    def constant(self, name: str, value: Any) -> int: ...


class Value:
    """A value of the graph in the arithmetic of a profile; numbers beside it become constants."""

    def __init__(self, writer: Writer, tensor: int):
        self.writer, self.tensor = writer, tensor

    def _name(self, what: str) -> str:
        return f"profile.{what}{len(self.writer.names)}"

    def _binary(self, a: "Value | float", b: "Value | float", kind: Binary) -> "Value":
        first, second = self._tensor(a), self._tensor(b)
        return Value(self.writer, self.writer.binary(self._name(kind.name), first, second, kind))

    def _tensor(self, item: "Value | float") -> int:
        return item.tensor if isinstance(item, Value) else self.writer.constant(self._name("constant"), item)

    def __sub__(self, other: "Value | float") -> "Value":
        return self._binary(self, other, Binary.sub)

    def __rsub__(self, other: float) -> "Value":
        return self._binary(other, self, Binary.sub)

    def __truediv__(self, other: "Value | float") -> "Value":
        return self._binary(self, other, Binary.div)

    def __mul__(self, other: "Value | float") -> "Value":
        return self._binary(self, other, Binary.mul)

    def reduced(self, operation: np.int8) -> "Value":
        fields = {0: operation, 1: np.array([1, 2, 3], "<i4"), 3: True, 4: 1}
        name = self._name("extreme")
        return Value(
            self.writer, self.writer.emit(Kind.Reduction, name, (self.tensor,), Parameter.ReductionParam, fields)
        )

    def clipped(self, low: float, high: float = GREATEST) -> "Value":
        fields = {0: float(low), 1: float(high)}
        return Value(
            self.writer, self.writer.emit(Kind.ReLU6, self._name("clip"), (self.tensor,), Parameter.Relu6, fields)
        )


class ProfileOps:
    def __init__(self, writer: Writer):
        self.writer = writer

    def peak(self, x: Value) -> Value:
        return x.reduced(MAXIMUM)

    def trough(self, x: Value) -> Value:
        return x.reduced(MINIMUM)

    def at_least(self, x: Value, low: float) -> Value:
        return x.clipped(low)

    def between(self, x: Value, low: float, high: float) -> Value:
        return x.clipped(low, high)

    def sigmoid(self, x: Value) -> Value:
        name = f"profile.sigmoid{len(self.writer.names)}"
        return Value(self.writer, self.writer.unary(name, x.tensor, Unary.sigmoid))

    def per_channel(self, values: np.ndarray) -> Value:
        name = f"profile.channels{len(self.writer.names)}"
        return Value(self.writer, self.writer.constant(name, values[:, None, None]))

    def largest_channel(self, x: Value) -> Value:
        raise OptionError(NO_CLASSES)
