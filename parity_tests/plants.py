"""Faults planted in a converted file: its ONNX graph edited, or the exporter's own rules bent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from u2net_zoo.preprocessing import IMAGENET_MEAN, IMAGENET_STD

Edit = Callable[[Any], None]


def planted(source: Path, target: Path, edit: Edit) -> Path:
    """A copy of the ONNX file `source` with its model edited."""
    model = onnx.load(str(source))
    edit(model)
    onnx.save(model, str(target))
    return target


def attributes(kind: str, **values: Any) -> Edit:
    """Every node of a kind gets these attributes."""

    def edit(model: Any) -> None:
        for node in model.graph.node:
            if node.op_type == kind:
                kept = [a for a in node.attribute if a.name not in values]
                del node.attribute[:]
                node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in values.items())])

    return edit


def average_pools(model: Any) -> None:
    for node in model.graph.node:
        if node.op_type == "MaxPool":
            node.op_type = "AveragePool"
            kept = [a for a in node.attribute if a.name in ("kernel_shape", "strides", "ceil_mode", "pads")]
            del node.attribute[:]
            node.attribute.extend(kept)


def no_dilation(model: Any) -> None:
    for node in model.graph.node:
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv" and values.get("dilations", [1, 1]) != [1, 1]:
            values |= {"dilations": [1, 1], "pads": [1, 1, 1, 1]}
            del node.attribute[:]
            node.attribute.extend(helper.make_attribute(k, v) for k, v in values.items())


def kernels(change: Callable[[np.ndarray], np.ndarray], first_only: bool = False) -> Edit:
    """Every kernel changed, or the first convolution's alone."""

    def edit(model: Any) -> None:
        names = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
        for tensor in model.graph.initializer:
            if tensor.name in (names[:1] if first_only else names):
                value = np.ascontiguousarray(change(numpy_helper.to_array(tensor)), np.float32)
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))

    return edit


def without_sigmoids(model: Any) -> None:
    for node in model.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Identity"


def behind(*kinds: str, constant: float | None = None) -> Edit:
    """Every output goes through one more node; a constant is its first input."""

    def edit(model: Any) -> None:
        graph = model.graph
        for output in graph.output:
            for node in graph.node:
                for n, name in enumerate(node.output):
                    if name == output.name:
                        node.output[n] = f"{name}_before"
            inputs = [f"{output.name}_before"]
            if constant is not None:
                value = numpy_helper.from_array(np.float32(constant), f"{output.name}_constant")
                graph.initializer.append(value)
                inputs.insert(0, value.name)
            graph.node.append(helper.make_node(kinds[0], inputs, [output.name]))

    return edit


def takes_pixels(
    by_maximum: bool = True, bgr: bool = False, mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD
) -> Edit:
    """The file takes pixels 0..255 and normalises them itself."""

    def edit(model: Any) -> None:
        graph, name = model.graph, model.graph.input[0].name
        for node in graph.node:
            for n, given in enumerate(node.input):
                if given == name:
                    node.input[n] = "normalised"
        constants = {
            "order": np.array([2, 1, 0] if bgr else [0, 1, 2], np.int64),
            "white": np.float32(255),
            "mean": np.broadcast_to(np.asarray(mean, np.float32), 3).reshape(3, 1, 1).copy(),
            "std": np.broadcast_to(np.asarray(std, np.float32), 3).reshape(3, 1, 1).copy(),
        }
        graph.initializer.extend(numpy_helper.from_array(v, f"in_{k}") for k, v in constants.items())
        top = helper.make_node("ReduceMax", ["ordered"], ["top"], keepdims=1, axes=[1, 2, 3])
        nodes = [
            helper.make_node("Gather", [name, "in_order"], ["ordered"], axis=1),
            *([top] if by_maximum else []),
            helper.make_node("Div", ["ordered", "top" if by_maximum else "in_white"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "in_mean"], ["centred"]),
            helper.make_node("Div", ["centred", "in_std"], ["normalised"]),
        ]
        for n, node in enumerate(nodes):
            graph.node.insert(n, node)

    return edit


def bfloat16(kernel: np.ndarray) -> np.ndarray:
    import torch

    return torch.from_numpy(kernel.copy()).to(torch.bfloat16).float().numpy()


def int8(kernel: np.ndarray) -> np.ndarray:
    """Symmetric, per output channel."""
    scales = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
    return np.rint(kernel / scales).astype(np.int8) * scales
