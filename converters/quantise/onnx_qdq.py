"""ONNX in int8: convolutions between QuantizeLinear and DequantizeLinear, as onnxruntime and others fuse them.

The network is equalised first, so one scale serves every feature map: maps are pooled, upsampled and concatenated as
bytes, and nothing is requantised between layers. Kernels are int8 per output channel, biases int32.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from .integer_layers import SCALE
from .rounding import int8_codes

__all__ = ["quantised"]

LARGEST = 2**31 - 1
PASSING = ("MaxPool", "Resize", "Concat", "Relu")


class _Builder:
    """One graph; `convolutions` are the names of the nodes that become int8."""

    def __init__(self, graph: Any, convolutions: Collection[str]):
        import onnx

        self.onnx = onnx
        self.graph = graph
        self.eight = frozenset(convolutions)
        self.constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.users: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.nodes: list[Any] = []
        self.renamed: dict[str, str] = {}

    def wanted(self, name: str) -> bool:
        """Whether some int8 convolution takes `name`, or what passes it on."""
        return any(
            node.name in self.eight
            if node.op_type == "Conv"
            else node.op_type in PASSING and self.wanted(node.output[0])
            for node in self.users.get(name, ())
        )

    def build(self) -> None:
        made = {name: node for node in self.graph.node for name in node.output}
        for node in list(self.graph.node):
            self.nodes.append(self.rewired(node))
            source = made.get(node.input[0]) if node.op_type == "Relu" else node
            eight = source is not None and source.name in self.eight
            if node.op_type != "Constant" and not self.feeds_relu(node) and (eight or self.wanted(node.output[0])):
                self.pair(node.output[0])
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        from_array = self.onnx.numpy_helper.from_array
        self.graph.initializer.extend(from_array(v, name) for name, v in self.constants.items() if name in used)

    def feeds_relu(self, node: Any) -> bool:
        """ReLU is fused into its convolution, so no map stands between the two."""
        return node.op_type == "Conv" and any(user.op_type == "Relu" for user in self.users.get(node.output[0], ()))

    def rewired(self, node: Any) -> Any:
        copy = self.onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self.renamed.get(name, name) for name in node.input]
        if node.name in self.eight:
            copy.input[1], copy.input[2] = self.parameters(*node.input[1:3])
        return copy

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def pair(self, name: str) -> None:
        """QuantizeLinear and DequantizeLinear behind `name`; later users take what comes out."""
        ends = [self.constant(f"{name}_scale", SCALE), self.constant(f"{name}_zero", np.uint8(0))]
        make = self.onnx.helper.make_node
        self.nodes.append(make("QuantizeLinear", [name, *ends], [f"{name}_q"], f"{name}_q"))
        self.nodes.append(make("DequantizeLinear", [f"{name}_q", *ends], [f"{name}_dq"], f"{name}_dq"))
        self.renamed[name] = f"{name}_dq"

    def parameters(self, kernel: str, bias: str) -> tuple[str, str]:
        """Names of the two, dequantised; a bias counts in steps of its accumulator: kernel's scale times map's."""
        codes, scale = int8_codes(self.constants[kernel])
        both = (scale * SCALE).astype(np.float32)
        whole = np.rint(self.constants[bias].astype(np.float64) / both).clip(-LARGEST, LARGEST)
        return self.dequantised(kernel, codes, scale), self.dequantised(bias, whole.astype(np.int32), both)

    def dequantised(self, name: str, codes: np.ndarray, scale: np.ndarray) -> str:
        zero = self.constant(f"{name}_zero", np.zeros(len(scale), codes.dtype))
        inputs = [self.constant(f"{name}_q", codes), self.constant(f"{name}_scale", scale), zero]
        make = self.onnx.helper.make_node
        self.nodes.append(make("DequantizeLinear", inputs, [f"{name}_dq"], f"{name}_dq", axis=0))
        return f"{name}_dq"


def quantised(model: Any, convolutions: Collection[str]) -> Any:
    """A copy of `model`, an exported equalised network of opset 13 or later, with these nodes in int8."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _Builder(copy.graph, convolutions).build()
    return copy
