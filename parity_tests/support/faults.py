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


def stretched(model: Any) -> None:
    """Every output is stretched to 0..1 by its own minimum and maximum."""
    graph = model.graph
    for output in graph.output:
        name = output.name
        for node in graph.node:
            node.output[:] = [f"{name}_before" if made == name else made for made in node.output]
        for kind, out in (("ReduceMin", "low"), ("ReduceMax", "high")):
            graph.node.append(helper.make_node(kind, [f"{name}_before"], [f"{name}_{out}"], keepdims=1, axes=[1, 2, 3]))
        for a, b, out in (("before", "low", "above"), ("high", "low", "range")):
            graph.node.append(helper.make_node("Sub", [f"{name}_{a}", f"{name}_{b}"], [f"{name}_{out}"]))
        graph.node.append(helper.make_node("Div", [f"{name}_above", f"{name}_range"], [name]))


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


def int8(axes: tuple[int, ...] | None) -> Callable[[np.ndarray], np.ndarray]:
    """Symmetric, in steps of the largest weight along `axes`; None: of the whole kernel."""

    def rounded(kernel: np.ndarray) -> np.ndarray:
        scales = np.abs(kernel).max(axis=axes, keepdims=True) / 127
        return np.rint(kernel / scales).astype(np.int8) * scales

    return rounded


def aligned_corners(source: Path, target: Path) -> Path:
    """A copy of the TFLite file `source` whose resizings align corners."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    for operator in model.subgraphs[0].operators:
        if isinstance(operator.builtinOptions, schema.ResizeBilinearOptionsT):
            operator.builtinOptions.alignCorners, operator.builtinOptions.halfPixelCenters = True, False
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target


STDS = (0.226, 0.225, 0.229)  # the mean of ImageNet's three, and two of them

# What a verification has to call each of them.
EDITS = {
    "align_corners=True": attributes("Resize", coordinate_transformation_mode="align_corners"),
    "nearest neighbour instead of bilinear": attributes(
        "Resize", mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"
    ),
    "bilinear without half-pixel centres (TensorFlow 1)": attributes(
        "Resize", coordinate_transformation_mode="asymmetric"
    ),
    "average instead of maximum": average_pools,
    "missing dilation": no_dilation,
    "logits instead of a sigmoid": without_sigmoids,
    "the sigmoid twice": behind("Sigmoid"),
    "inverted (1 - mask)": behind("Sub", constant=1),
    "min-max normalised in the file": stretched,
    "0..255 instead of 0..1": behind("Mul", constant=255),
    "channels of the first kernel reversed (BGR)": kernels(lambda k: k[:, ::-1], first_only=True),
}
ROUNDED = {
    "rounded to fp16": kernels(lambda k: k.astype("float16")),
    "rounded to bf16": kernels(bfloat16),
    "rounded to int8 per channel": kernels(int8((1, 2, 3))),
    "rounded to int8 per kernel": kernels(int8(None)),
}
# These take pixels and normalise them themselves.
PIXELS = {
    "red and blue swapped (BGR)": takes_pixels(bgr=True),
    "divided by 255 instead of by the maximum": takes_pixels(by_maximum=False),
    "divided by 255, red and blue swapped (BGR)": takes_pixels(by_maximum=False, bgr=True),
    "divided by 255, the standard deviation folded into the first kernel, as OpenVINO does": takes_pixels(
        by_maximum=False, std=1
    ),
    **{f"one standard deviation for all channels ({std:.4f})": takes_pixels(std=std) for std in STDS},
    **{
        f"divided by 255, one standard deviation ({std:.4f}), as Core ML's scale": takes_pixels(False, std=std)
        for std in STDS
    },
    "mean and standard deviation 0.5": takes_pixels(mean=0.5, std=0.5),
    "mean and standard deviation left out": takes_pixels(mean=0, std=1),
}
