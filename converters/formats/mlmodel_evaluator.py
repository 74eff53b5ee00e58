"""Core ML's old neural networks, evaluated layer by layer on any operating system: what U²-Nets are made of.

A layer is a function of its parameters and its inputs, in Torch; to add one: one function. Sources of the formulas: the
comments of NeuralNetwork.proto in the Core ML model format.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError, one_line

from ..mil.features import Feature, ImageFeature, feature
from .coreml_reader import NETWORKS, values_of

__all__ = ["Network", "supported_layers"]

LARGEST = 1 << 28  # elements of one activation


class Network:
    """A model of the `.mlmodel` kind, ready to be evaluated.

    Attributes:
        inputs, outputs: what goes in and comes out, by name.
        metadata: what its maker said of it.

    Raises:
        ArtifactError: it holds no neural network, or a layer that is not supported (with the list of those that are).
    """

    def __init__(self, spec: Any):
        kind = spec.WhichOneof("Type")
        if kind not in NETWORKS:
            raise ArtifactError(f"holds a Core ML {kind or 'model without a type'}, not a neural network")
        self.layers = list(getattr(spec, kind).layers)
        self.inputs: Mapping[str, Feature] = {item.name: feature(item) for item in spec.description.input}
        self.outputs: Mapping[str, Feature] = {item.name: feature(item) for item in spec.description.output}
        self.metadata = dict(spec.description.metadata.userDefined)
        self.scales = self._scales(getattr(spec, kind).preprocessing)
        for layer in self.layers:
            if layer.WhichOneof("layer") not in LAYERS:
                raise ArtifactError(
                    f"layer {layer.WhichOneof('layer')!r} is not supported; there are: {', '.join(supported_layers())}"
                )

    def _scales(self, preprocessing: Any) -> dict[str, tuple[float, np.ndarray]]:
        """Of inputs that are scaled before the first layer: the factor, and what is added to each channel (C, 1, 1)."""
        found = {}
        for step in preprocessing:
            name, scaler = step.featureName or next(iter(self.inputs)), step.scaler
            if step.WhichOneof("preprocessor") != "scaler":
                raise ArtifactError(f"subtracts a mean image from {name!r} before the first layer: not supported")
            colours = [scaler.redBias, scaler.greenBias, scaler.blueBias]
            described = self.inputs.get(name)
            if not isinstance(described, ImageFeature):
                raise ArtifactError(f"scales {name!r} before the first layer, which is no picture that it takes")
            biases = {"rgb": colours, "bgr": colours[::-1]}.get(described.colour, [scaler.grayBias])
            found[name] = scaler.channelScale, np.asarray(biases, np.float32)[:, None, None]
        return found

    def _scaled(self, name: str, array: np.ndarray) -> np.ndarray:
        array = np.array(array, np.float32)
        if name not in self.scales:
            return array
        factor, bias = self.scales[name]
        return array * np.float32(factor) + bias

    def evaluate(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, as `converters.mil.evaluate` returns them."""
        for name in inputs:
            if name not in self.inputs:
                raise ArtifactError(f"it has no input {name!r}; it has {', '.join(self.inputs)}")
        values = dict(self.trace({name: self.inputs[name].encode(array) for name, array in inputs.items()}))
        missing = sorted(set(self.outputs) - set(values))
        if missing:
            raise ArtifactError(f"no layer makes the output {missing[0]!r}")
        return {name: described.decode(values[name]) for name, described in self.outputs.items()}

    def trace(self, inputs: Mapping[str, np.ndarray], keep: Collection[str] = ()) -> Iterator[tuple[str, np.ndarray]]:
        """(name, value) of what no later layer takes: the outputs, and anything that leads nowhere; and of `keep`."""
        import torch

        values = {name: torch.from_numpy(self._scaled(name, array)) for name, array in inputs.items()}
        last = {name: n for n, layer in enumerate(self.layers) for name in layer.input}
        with torch.inference_mode():
            for n, layer in enumerate(self.layers):
                kind = layer.WhichOneof("layer")
                try:
                    given = [values[name] for name in layer.input]
                    _check_size(getattr(layer, kind), kind, given)
                    values[layer.output[0]] = LAYERS[kind](getattr(layer, kind), *given)
                except (KeyError, RuntimeError, ValueError, IndexError, TypeError, OverflowError) as error:
                    raise ArtifactError(
                        f"layer {layer.name!r} ({kind}) cannot be computed: {one_line(error)}"
                    ) from None
                for name in layer.input:
                    if last[name] == n and name not in self.outputs and name not in keep:
                        values.pop(name, None)
        return iter([(name, value.numpy()) for name, value in values.items()])


def _check_size(p: Any, kind: str, given: list[Any]) -> None:
    """Raises ValueError before a layer is computed whose result would be larger than any U²-Net's."""
    size = max((x.numel() for x in given), default=0)
    if kind == "upsample":
        size *= math.prod(
            max(1, int(f)) for f in (*p.scalingFactor, *(math.ceil(f) for f in p.fractionalScalingFactor))
        )
    elif kind == "convolution":
        edges = [e.startEdgeSize + e.endEdgeSize for e in p.valid.paddingAmounts.borderAmounts] or [0, 0]
        height, width = given[0].shape[2:]
        size = max(p.outputChannels, given[0].shape[1]) * (height + edges[0]) * (width + edges[-1])
    elif len(given) > 1 and kind != "concat":
        size = math.prod(max(sides) for sides in zip_longest(*(reversed(x.shape) for x in given), fillvalue=1))
    if size > LARGEST:
        raise ValueError(f"it would have {size} elements")


def supported_layers() -> tuple[str, ...]:
    return tuple(sorted(LAYERS))


def _convolution(p: Any, x: Any) -> Any:
    import torch
    import torch.nn.functional as F

    if p.isDeconvolution or p.WhichOneof("ConvolutionPaddingType") != "valid":
        raise ValueError("a transposed convolution, or padding other than by amounts")
    shape = (p.outputChannels, p.kernelChannels, *(p.kernelSize or (3, 3)))
    kernel = torch.from_numpy(values_of(p.weights, int(np.prod(shape, dtype=object))).reshape(shape).copy())
    bias = torch.from_numpy(values_of(p.bias).copy()) if p.hasBias else None
    edges = [(e.startEdgeSize, e.endEdgeSize) for e in p.valid.paddingAmounts.borderAmounts] or [(0, 0), (0, 0)]
    (top, bottom), (left, right) = edges
    if (top, left) == (bottom, right):
        return F.conv2d(
            x, kernel, bias, tuple(p.stride) or 1, (top, left), tuple(p.dilationFactor) or 1, p.nGroups or 1
        )
    x = F.pad(x, (left, right, top, bottom))
    return F.conv2d(x, kernel, bias, tuple(p.stride) or 1, 0, tuple(p.dilationFactor) or 1, p.nGroups or 1)


def _pooling(p: Any, x: Any) -> Any:
    """Largest values; `includeLastPixel` rounds up, as Caffe did."""
    import torch.nn.functional as F

    if p.type == p.MAX and p.globalPooling:
        return x.amax(dim=(2, 3), keepdim=True)
    padding = p.WhichOneof("PoolingPaddingType")
    amounts = tuple(p.includeLastPixel.paddingAmounts) if padding == "includeLastPixel" else ()
    if p.type != p.MAX or any(amounts) or padding not in ("includeLastPixel", "valid"):
        raise ValueError("pooling other than the largest, unpadded")
    return F.max_pool2d(x, tuple(p.kernelSize), tuple(p.stride), ceil_mode=padding == "includeLastPixel")


def _upsample(p: Any, x: Any) -> Any:
    import torch.nn.functional as F

    if p.mode != p.BILINEAR or p.linearUpsampleMode != p.ALIGN_CORNERS_FALSE:
        raise ValueError("upsampling other than bilinear with half-pixel centres")
    factors = tuple(float(f) for f in (p.fractionalScalingFactor or p.scalingFactor or (1, 1)))
    return F.interpolate(x, scale_factor=factors, mode="bilinear", align_corners=False)


def _activation(p: Any, x: Any) -> Any:
    import torch

    kind = p.WhichOneof("NonlinearityType")
    if kind == "linear":
        return x * p.linear.alpha + p.linear.beta
    if kind == "ReLU":
        return torch.relu(x)
    if kind == "sigmoid":
        return torch.sigmoid(x)
    raise ValueError(f"activation {kind!r}")


def _unary(p: Any, x: Any) -> Any:
    """f((x * scale) + shift), NeuralNetwork.proto's UnaryFunctionLayerParams; only the inverse is needed."""
    if p.type != p.INVERSE:
        raise ValueError("a unary function other than the inverse")
    return 1 / (x * (p.scale or 1) + p.shift).clamp(min=p.epsilon or 0)


def _constant(p: Any) -> Any:
    import torch

    return torch.from_numpy(values_of(p.data).reshape(tuple(int(n) for n in p.shape)).copy())


def _concat(p: Any, *maps: Any) -> Any:
    import torch

    return torch.cat(maps, dim=1)


def _sum(p: Any, *maps: Any) -> Any:
    return maps[0] + p.alpha if len(maps) == 1 else sum(maps[1:], start=maps[0])


def _product(p: Any, *maps: Any) -> Any:
    return maps[0] * p.alpha if len(maps) == 1 else maps[0] * maps[1]


def _axes(p: Any, x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if p.reduceAll else tuple(p.axes)


LAYERS: dict[str, Callable[..., Any]] = {
    "activation": _activation,
    "add": _sum,
    "addBroadcastable": lambda p, a, b: a + b,
    "argMax": lambda p, x: x.argmax(dim=p.axis, keepdim=not p.removeDim).float(),
    "clip": lambda p, x: x.clamp(p.minVal, p.maxVal),
    "concat": _concat,
    "convolution": _convolution,
    "divideBroadcastable": lambda p, a, b: a / b,
    "floor": lambda p, x: x.floor(),
    "loadConstantND": _constant,
    "multiply": _product,
    "multiplyBroadcastable": lambda p, a, b: a * b,
    "pooling": _pooling,
    "reduceMax": lambda p, x: x.amax(dim=_axes(p, x), keepdim=p.keepDims),
    "reduceMin": lambda p, x: x.amin(dim=_axes(p, x), keepdim=p.keepDims),
    "reverse": lambda p, x: x.flip([n for n, back in enumerate(p.reverseDim) if back]),
    "subtractBroadcastable": lambda p, a, b: a - b,
    "unary": _unary,
    "upsample": _upsample,
}
