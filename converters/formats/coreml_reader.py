"""Core ML models of any maker -> Checkpoint, by their graphs: ML Programs and the old neural network."""

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.batch_norm import batch_norm
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, NotANetworkError, one_line
from u2net_zoo.limits import check_size

from ..embedded import words_of_weights
from ..mil import Package, constants, proto
from ..mil.package import root_model
from ..mil.program import Function, Literal, Operation
from .other_activations import clamp
from .weight_graph import Affine, Conv, Graph, Node, beside_constant

__all__ = ["NETWORKS", "program", "read", "specification", "values_of"]

NETWORKS = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")
PIPELINES = {
    "pipeline": ("pipeline",),
    "pipelineClassifier": ("pipelineClassifier", "pipeline"),
    "pipelineRegressor": ("pipelineRegressor", "pipeline"),
}


def read(path: Path) -> Checkpoint:
    """Of an `.mlpackage` or an `.mlmodel`, compressed weights too. Raises InputError: damaged, or no U²-Net."""
    for file in [path] if path.is_file() else path.rglob("*"):
        check_size(file.stat().st_size, file.name)
    spec = specification(path)
    kind = spec.WhichOneof("Type")
    if kind == "mlProgram":
        return _program(path)
    if kind in NETWORKS:
        return _network(getattr(spec, kind)).checkpoint()
    if kind in PIPELINES:
        raise CheckpointError(
            f"a Core ML pipeline of {len(_models(spec))} models; save the network alone: coremltools.utils.save_spec("
            f"coremltools.utils.load_spec({path.name!r}).{'.'.join(PIPELINES[kind])}.models[N], 'network.mlmodel')"
        )
    raise CheckpointError(
        f"holds a Core ML {kind or 'model without a type'}; allowed: a neural network or an ML Program"
    )


def _models(spec: Any) -> Any:
    """Of a pipeline."""
    for name in PIPELINES[spec.WhichOneof("Type")]:
        spec = getattr(spec, name)
    return spec.models


def specification(path: Path) -> Any:
    """The parsed Model message. Raises CheckpointError."""
    model = path if path.is_file() else root_model(path)
    try:
        return proto.load("Model_pb2").Model.FromString(model.read_bytes())
    except Exception as error:  # protobuf's own types differ by its backend
        raise CheckpointError(f"{model.name} is damaged or no Core ML model ({one_line(error)})") from None


def _program(path: Path) -> Checkpoint:
    package = Package.open(path)
    return program(package.function, constants(package)).checkpoint(words_of_weights(package.metadata))


def program(function: Function, known: Mapping[str, Any]) -> Graph:
    """The graph of an ML Program; `known`: its constants, see `mil.constants`."""
    nodes = [_operation(operation, known) for operation in function.operations if not operation.constant]
    return Graph(nodes, function.outputs)


def _operation(operation: Operation, known: Mapping[str, Any]) -> Node:
    def constant(key: str) -> np.ndarray | None:
        argument = operation.arguments.get(key)
        if isinstance(argument, str):
            return known[argument].float().numpy() if argument in known else None
        return np.asarray(argument.value(), np.float32) if isinstance(argument, Literal) else None

    kind, inputs = operation.kind, tuple(name for name in operation.reads() if name not in known)
    role: Conv | Affine | None = None
    if kind == "conv":
        kernel = constant("weight")
        steps = constant("dilations")
        dilation = 1 if steps is None else int(steps.max(initial=1))
        role = Conv(kernel, constant("bias"), "", dilation) if kernel is not None and kernel.ndim == 4 else None
    elif kind == "batch_norm":
        mean, var = constant("mean"), constant("variance")
        gamma, beta, eps = (
            default if (value := constant(key)) is None else value
            for key, default in (("gamma", 1.0), ("beta", 0.0), ("epsilon", 1e-5))
        )
        role = None if mean is None or var is None else batch_norm(gamma, beta, mean, var, float(eps))
    elif kind in ("add", "mul"):
        sides = [operation.arguments.get(key) for key in ("x", "y")]
        names = [side if isinstance(side, str) else "" for side in sides]
        role, inputs = beside_constant(names, [constant("x"), constant("y")], product=kind == "mul")
    elif kind == "clip":
        low, high = constant("alpha"), constant("beta")
        kind = clamp(-inf if low is None else float(low), inf if high is None else float(high))
    return Node(kind, inputs, tuple(name for name, _ in operation.outputs), role)


def _network(network: Any) -> Graph:
    return Graph([_node(layer) for layer in network.layers])


def _node(layer: Any) -> Node:
    kind = layer.WhichOneof("layer") or "?"
    role: Conv | Affine | None = None
    if kind == "convolution":
        role = _convolution(layer.convolution)
    elif kind == "batchnorm":
        p = layer.batchnorm
        gamma, beta, mean, var = (values_of(getattr(p, key)) for key in ("gamma", "beta", "mean", "variance"))
        role = batch_norm(gamma, beta, mean, var, p.epsilon)
    elif kind == "activation":
        kind = layer.activation.WhichOneof("NonlinearityType") or kind
    elif kind == "clip":
        kind = clamp(layer.clip.minVal, layer.clip.maxVal)
    return Node(kind, tuple(layer.input), tuple(layer.output), role)


def _convolution(p: Any) -> Conv:
    if p.isDeconvolution or p.nGroups > 1:
        raise NotANetworkError("not a U²-Net: a convolution is transposed or grouped")
    shape = (p.outputChannels, p.kernelChannels, *(p.kernelSize or (3, 3)))
    kernel = values_of(p.weights, int(np.prod(shape, dtype=object))).reshape(shape)
    return Conv(kernel, values_of(p.bias) if p.hasBias else None, dilation=max(p.dilationFactor, default=1))


def values_of(weights: Any, count: int | None = None) -> np.ndarray:
    """A WeightParams as float32: plain, float16, or quantised (linearly, or by a table) in 1 to 8 bits."""
    if weights.floatValue:
        return np.asarray(weights.floatValue, np.float32)
    if weights.float16Value:
        return np.frombuffer(weights.float16Value, np.float16).astype(np.float32)
    if not weights.rawValue:
        raise CheckpointError("a layer has no weights, or weights of a type that is not supported")
    return _dequantise(weights, count)


def _dequantise(weights: Any, count: int | None) -> np.ndarray:
    quantization = weights.quantization
    depth = quantization.numberOfBits
    if not 1 <= depth <= 8:
        raise CheckpointError(f"weights quantised to {depth} bits; allowed are 1 to 8")
    bits = np.unpackbits(np.frombuffer(weights.rawValue, np.uint8))  # the highest bit comes first
    bits = bits[: len(bits) // depth * depth].reshape(-1, depth)
    codes = bits @ (1 << np.arange(depth - 1, -1, -1))
    codes = codes[:count]  # the last byte may hold bits that mean nothing
    if quantization.WhichOneof("QuantizationType") == "lookupTableQuantization":
        table = np.asarray(quantization.lookupTableQuantization.floatValue, np.float32)
        if len(table) <= codes.max(initial=0):
            raise CheckpointError(f"its table of weights has {len(table)} entries, entry {codes.max()} is asked for")
        return table[codes]
    linear = quantization.linearQuantization
    scale, bias = (np.asarray(values, np.float32).reshape(-1, 1) for values in (linear.scale, linear.bias))
    rows = codes.reshape(len(scale) if len(scale) > 1 else 1, -1).astype(np.float32)
    return (rows * scale + (bias if bias.size else 0)).ravel()
