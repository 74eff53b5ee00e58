"""Core ML models of any maker -> Checkpoint: ML Programs by the evaluator, the old neural network by its graph."""

from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import check_size

from .graph import Affine, Conv, Graph, Node, norm
from .mil import Package, convolutions, proto
from .mil.package import root_model

__all__ = ["NETWORKS", "read", "specification", "values_of"]

NETWORKS = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")


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
    raise CheckpointError(
        f"holds a Core ML {kind or 'model without a type'}; allowed: a neural network or an ML Program"
    )


def specification(path: Path) -> Any:
    """The parsed Model message. Raises CheckpointError."""
    model = path if path.is_file() else root_model(path)
    try:
        return proto.load("Model_pb2").Model.FromString(model.read_bytes())
    except Exception as error:  # protobuf's own types differ by its backend
        raise CheckpointError(f"{model.name} is damaged or no Core ML model ({one_line(error)})") from None


def _program(path: Path) -> Checkpoint:
    package = Package.open(path)
    found = convolutions(package)
    kinds = {operation.kind for operation in package.function.operations}
    pairs = [(conv.kernel, conv.bias) for conv in found]
    return Checkpoint.from_folded(pairs, final="sigmoid" if "sigmoid" in kinds else "none", meta=package.metadata)


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
        role = norm(gamma, beta, mean, var, p.epsilon)
    elif kind == "activation":
        kind = layer.activation.WhichOneof("NonlinearityType") or kind
    return Node(kind, tuple(layer.input), tuple(layer.output), role)


def _convolution(p: Any) -> Conv:
    if p.isDeconvolution or p.nGroups > 1:
        raise CheckpointError("not a U²-Net: a convolution is transposed or grouped")
    shape = (p.outputChannels, p.kernelChannels, *(p.kernelSize or (3, 3)))
    kernel = values_of(p.weights, int(np.prod(shape, dtype=object))).reshape(shape)
    return Conv(kernel, values_of(p.bias) if p.hasBias else None)


def values_of(weights: Any, count: int | None = None) -> np.ndarray:
    """A WeightParams as float32: plain, float16, or quantised (linearly, or by a table) in 1 to 8 bits."""
    if weights.floatValue:
        return np.asarray(weights.floatValue, np.float32)
    if weights.float16Value:
        return np.frombuffer(weights.float16Value, np.float16).astype(np.float32)
    if not weights.rawValue:
        raise CheckpointError("a layer has no weights, or weights of a type that is not supported")
    return _dequantised(weights, count)


def _dequantised(weights: Any, count: int | None) -> np.ndarray:
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
