"""ONNX files as other makers quantise them: by onnxruntime's own quantiser, and by hand where it has no such option."""

from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 4  # input channels that share a scale


def quantised(source: Path, target: Path, how: str, size: tuple[int, int]) -> Path:
    """A file with the input `image`, quantised; `how`: `dynamic uint8`, `QOperator int8 per channel` …"""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    scheme, kind, *rest = how.split()
    weights = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[kind]
    if scheme == "dynamic":
        quantize_dynamic(source, target, weight_type=weights, op_types_to_quantize=["Conv"])
    else:
        quantize_static(
            source, target, _noise(size), quant_format=getattr(QuantFormat, scheme), weight_type=weights,
            activation_type=QuantType.QUInt8, per_channel="channel" in rest,
        )  # fmt: skip
    return target


def _noise(size: tuple[int, int]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Noise(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left = [rng.standard_normal((1, 3, *size)).astype(np.float32) for _ in range(2)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"image": self.left.pop()} if self.left else None

    return Noise()


def weights_only(source: Path, target: Path, kind: str, block: int = 0) -> Path:
    """Kernels in integers of `kind` (`int8`, `uint4` …) behind DequantizeLinear; the arithmetic stays float32.

    Args:
        block: scales and zero points hold for as many input channels (opset 21); 0: for an output channel.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper, version_converter

    model = onnx.load(str(source))
    model = version_converter.convert_version(model, 21) if block else model
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in [node.input[1] for node in model.graph.node if node.op_type == "Conv"]:
        kernel = numpy_helper.to_array(tensors[name])
        codes, scale, zero = _steps(kernel, kind, block)
        model.graph.initializer.remove(tensors[name])
        number = getattr(TensorProto, kind.upper())
        model.graph.initializer.extend([
            helper.make_tensor(f"{name}_codes", number, codes.shape, codes.ravel()),
            numpy_helper.from_array(scale, f"{name}_scale"),
            helper.make_tensor(f"{name}_zero", number, zero.shape, zero.ravel()),
        ])  # fmt: skip
        more = {"axis": 1, "block_size": block} if block else {"axis": 0}
        inputs = [f"{name}_{part}" for part in ("codes", "scale", "zero")]
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], **more))
    onnx.checker.check_model(model)
    onnx.save(model, str(target))
    return target


def _steps(kernel: np.ndarray, kind: str, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(codes, scales, zero points) of the whole range from the lowest to the highest weight of a channel or block."""
    bits, signed = int(kind.removeprefix("u").removeprefix("int")), not kind.startswith("u")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if block:
        starts = range(0, kernel.shape[1], block)
        parts = [kernel[:, start : start + block] for start in starts]
        bounds = [(part.min(1, keepdims=True), part.max(1, keepdims=True)) for part in parts]
        least, most = (np.concatenate(each, axis=1) for each in zip(*bounds, strict=True))
    else:
        least, most = kernel.min((1, 2, 3)), kernel.max((1, 2, 3))
    least, most = np.minimum(least, 0), np.maximum(most, 0)
    scale = np.maximum((most - least) / (high - low), 1e-8).astype(np.float32)
    zero = np.clip(np.rint(low - least / scale), low, high)
    if block:
        wide = [np.repeat(each, block, axis=1)[:, : kernel.shape[1]] for each in (scale, zero)]
    else:
        wide = [each.reshape(-1, 1, 1, 1) for each in (scale, zero)]
    codes = np.clip(np.rint(kernel / wide[0]) + wide[1], low, high)
    return codes.astype(int), scale, zero.astype(int)
