"""ONNX in int8: convolutions between QuantizeLinear and DequantizeLinear, as onnxruntime and others fuse them.

The network is equalised first, so every feature map in [0, 1] has the one scale 1/255: maps are pooled, upsampled and
concatenated as bytes, and nothing is requantised between layers. Kernels are int8 per output channel.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from .rounding import int8_codes

__all__ = ["SCALE", "quantised"]

SCALE = np.float32(1 / 255)  # of every feature map; zero is 0
PASSING = ("MaxPool", "Resize", "Concat", "Relu")


class _Builder:
    def __init__(self, graph: Any, units: Mapping[str, str], scales: Mapping[str, tuple[np.float32, int]], steps: int):
        """units: convolution's node name -> unit path, for those that become int8."""
        import onnx

        self.onnx = onnx
        self.graph = graph
        self.units = units
        self.scales = scales
        self.steps = steps
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
            node.name in self.units if node.op_type == "Conv" else node.op_type in PASSING and self.wanted(node.output[0])
            for node in self.users.get(name, ())
        )

    def build(self) -> None:
        for item in self.graph.input:
            if self.wanted(item.name):
                self.pair(item.name, *self.scales["image"])
        made = {name: node for node in self.graph.node for name in node.output}
        for node in list(self.graph.node):
            copy = self.onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [self.renamed.get(name, name) for name in node.input]
            if node.name in self.units:
                self.kernel(copy, node)
            self.nodes.append(copy)
            out = node.output[0]
            fused = node.op_type == "Conv" and any(user.op_type == "Relu" for user in self.users.get(out, ()))
            source = made.get(node.input[0]) if node.op_type == "Relu" else node
            eight = source is not None and source.name in self.units
            if not fused and (eight or self.wanted(out)) and node.op_type != "Constant":
                self.pair(out, SCALE, 0)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.initializer[:]
        used = {name for node in self.nodes for name in node.input}
        kept = [self.onnx.numpy_helper.from_array(v, k) for k, v in self.constants.items() if k in used]
        self.graph.initializer.extend(kept)

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def pair(self, name: str, scale: np.float32, zero: int) -> None:
        """QuantizeLinear and DequantizeLinear behind `name`; later users take what comes out."""
        ends = [self.constant(f"{name}_scale", np.float32(scale)), self.constant(f"{name}_zero", np.uint8(zero))]
        make = self.onnx.helper.make_node
        self.nodes.append(make("QuantizeLinear", [name, *ends], [f"{name}_q"], f"{name}_q"))
        self.nodes.append(make("DequantizeLinear", [f"{name}_q", *ends], [f"{name}_dq"], f"{name}_dq"))
        self.renamed[name] = f"{name}_dq"

    def kernel(self, copy: Any, node: Any) -> None:
        name, bias = node.input[1], node.input[2]
        codes, scale = int8_codes(self.constants[name], self.steps)
        given = self.scales["image"][0] if node.input[0] == self.graph.input[0].name else SCALE
        both = (scale * given).astype(np.float32)
        whole = np.rint(self.constants[bias].astype(np.float64) / both).clip(-(2**31) + 1, 2**31 - 1)
        copy.input[1] = self.dequantised(name, codes, scale)
        copy.input[2] = self.dequantised(bias, whole.astype(np.int32), both)

    def dequantised(self, name: str, codes: np.ndarray, scale: np.ndarray) -> str:
        zero = self.constant(f"{name}_zero", np.zeros(len(scale), codes.dtype))
        inputs = [self.constant(f"{name}_q", codes), self.constant(f"{name}_scale", scale), zero]
        self.nodes.append(
            self.onnx.helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], f"{name}_dq", axis=0)
        )
        return f"{name}_dq"


def quantised(model: Any, units: Mapping[str, str], image: tuple[np.float32, int], steps: int = 127) -> Any:
    """`model` with the convolutions of `units` (node name -> unit path) in int8; in place."""
    _Builder(model.graph, units, {"image": image}, steps).build()
    return model
