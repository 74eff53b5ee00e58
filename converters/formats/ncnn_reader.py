"""ncnn's pair -> Checkpoint: `.param` is the graph as text, `.bin` the weights one after another in the graph's order.

Source of the layout: ncnn's documentation, "param and model file structure".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from u2net_zoo.batch_norm import batch_norm
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError
from u2net_zoo.limits import check_size

from .other_activations import clamp
from .weight_graph import Affine, Conv, Graph, Node

__all__ = ["HALF", "MAGIC", "binary_of", "read"]

MAGIC = "7767517"
HALF = 0x01306B47  # the tag before weights in float16; 0 before float32
PLAIN = 0
ACTIVATION, SIGMOID, CLIP = 9, 4, 3
PARAMETERS = -23310  # a list: its length, then the numbers of the activation
ACTIVATIONS = {2: "LeakyReLU", 5: "Mish", 6: "HardSwish"}
# Layers without weights; a layer of another kind would leave the reader in the middle of nowhere in the .bin.
_WEIGHTLESS = """
    Input Split Pooling Concat Interp BinaryOp UnaryOp Eltwise Sigmoid ReLU Padding Crop Reshape Permute Flatten
    Noop Softmax Dropout Clip ELU SELU GELU Mish Softplus
    Cast Packing Slice HardSigmoid Swish TanH AbsVal Squeeze ExpandDims
"""
WEIGHTLESS = frozenset(_WEIGHTLESS.split())


@dataclass(frozen=True)
class Layer:
    """One line of a `.param`: kind, name, blobs in and out, and numbered parameters as text."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, str]

    def int(self, key: int, default: int = 0) -> int:
        return int(self.params.get(key, default))


def read(path: Path) -> Checkpoint:
    """Of the pair whose `.param` is `path`; fp32 and fp16. Raises CheckpointError: damaged, or no U²-Net."""
    binary = binary_of(path)
    if not binary.is_file():
        raise CheckpointError(f"its weights {binary.name!r} are missing beside it")
    check_size(binary.stat().st_size, "the file of weights")
    check_size(path.stat().st_size, "the file")
    try:
        layers = list(_layers(path.read_text("utf-8")))
        stream = _Stream(binary.read_bytes())
        nodes = [
            Node(_kind(layer), layer.inputs, layer.outputs, _role(layer, stream), fused=_fused(layer))
            for layer in layers
        ]
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"damaged .param ({error})") from None
    if stream.left:
        raise CheckpointError(f"{binary.name} holds {stream.left} bytes more than the .param asks for; not its pair?")
    return Graph(nodes).checkpoint()


def binary_of(path: Path) -> Path:
    """`x.ncnn.param` -> `x.ncnn.bin`."""
    return path.with_suffix(".bin")


def _layers(text: str) -> Iterator[Layer]:
    magic, counts, *lines = [line.split() for line in text.splitlines() if line.strip()] or [[], []]
    if magic != [MAGIC] or len(counts) != 2 or int(counts[0]) != len(lines):
        raise CheckpointError(f"not an ncnn .param: starts with {' '.join(magic)[:20]!r}, or is cut off")
    for kind, name, ins, outs, *rest in lines:
        n, m = int(ins), int(outs)
        if n < 0 or m < 0 or n + m > len(rest):
            raise CheckpointError(f"damaged .param ({name}: {n} inputs and {m} outputs)")
        pairs = (item.split("=", 1) for item in rest[n + m :])
        yield Layer(kind, name, tuple(rest[:n]), tuple(rest[n : n + m]), {int(key): value for key, value in pairs})


def _kind(layer: Layer) -> str:
    """The layer's kind; a sigmoid may be a convolution's activation."""
    if layer.kind == "Convolution" and layer.int(ACTIVATION) == SIGMOID:
        return "Sigmoid"
    if layer.kind == "Clip":
        return clamp(float(layer.params.get(0, "-inf")), float(layer.params.get(1, "inf")))
    return "LeakyReLU" if layer.kind == "ReLU" and float(layer.params.get(0, 0)) else layer.kind


def _fused(layer: Layer) -> str:
    """The activation that is part of a convolution, where it is no ReLU."""
    kind = layer.int(ACTIVATION) if layer.kind == "Convolution" else 0
    if kind == CLIP:
        _, low, high, *_ = (float(number) for number in layer.params.get(PARAMETERS, "2,0,inf").split(","))
        return "" if (cut := clamp(low, high)) == "Relu" else cut
    return ACTIVATIONS.get(kind, "")


def _role(layer: Layer, stream: "_Stream") -> Conv | Affine | None:
    if layer.kind == "Convolution":
        out, width, size = layer.int(0), layer.int(1), layer.int(6)
        height = layer.int(11, width)
        if min(out, width, height, size) < 1 or size % (out * width * height):
            raise CheckpointError(f"{layer.name}: {size} weights are no kernel of {out} x … x {height} x {width}")
        kernel = stream.tagged(size, layer.name).reshape(out, -1, height, width)
        bias = stream.floats(out, layer.name) if layer.int(5) else None
        return Conv(kernel, bias, dilation=max(layer.int(2, 1), layer.int(12, 1)))
    if layer.kind == "BatchNorm":
        gamma, mean, var, beta = (stream.floats(layer.int(0), layer.name) for _ in range(4))
        return batch_norm(gamma, beta, mean, var, float(layer.params.get(1, 0)))
    if layer.kind not in WEIGHTLESS:
        raise CheckpointError(f"{layer.name}: a layer of kind {layer.kind!r} is not in a U²-Net")
    return None


class _Stream:
    """The `.bin`, read from the front."""

    def __init__(self, content: bytes):
        self.content = content
        self.place = 0

    @property
    def left(self) -> int:
        return len(self.content) - self.place

    def tagged(self, count: int, name: str) -> np.ndarray:
        """Weights behind their tag; float16 ones are filled up to whole words."""
        tag = int(self._take(4, name).view(np.uint32)[0])
        if tag not in (PLAIN, HALF):
            raise CheckpointError(f"{name}: weights with the tag {tag:#x}; allowed: float32 and float16")
        if tag == PLAIN:
            return self.floats(count, name)
        return self._take((2 * count + 3) // 4 * 4, name)[: 2 * count].view(np.float16).astype(np.float32)

    def floats(self, count: int, name: str) -> np.ndarray:
        return self._take(4 * count, name).view(np.float32)

    def _take(self, count: int, name: str) -> np.ndarray:
        if not 0 <= count <= self.left:
            raise CheckpointError(f"{name}: the .bin ends before its weights do")
        self.place += count
        return np.frombuffer(self.content[self.place - count : self.place], np.uint8)
