"""Who takes part: one row per way to run some weights. A new way is a row here, or an artifact on the command line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..sources import format_of

__all__ = ["ON_CUDA", "Contestant", "for_artifact", "for_weights"]

CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
# JAX, and Keras on Torch, take TF32 for products unless told otherwise; JAX also takes most of the GPU's memory.
ON_CUDA = {
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "NVIDIA_TF32_OVERRIDE": "0",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
KERAS_BACKENDS = ("tensorflow", "jax", "torch")
RUNTIMES = {"onnx": "onnxruntime", "openvino": "OpenVINO f32", "tflite": "TFLite (XNNPACK)",
            "savedmodel": "TensorFlow", "ncnn": "ncnn"}  # fmt: skip
TORCH = {"eager": "Torch eager", "folded": "Torch folded", "channels_last": "Torch channels-last",
         "compiled": "Torch compiled"}  # fmt: skip


@dataclass(frozen=True)
class Contestant:
    """One way to run a network.

    Attributes:
        name: for people.
        opener, arguments, environment: see `remote.RemotePredictor`.
        converted: name of the format that the weights are to be converted to first; its path becomes the argument.
        dtype: what products are computed in: Torch's name, or `tf32`.
        refusal: why it cannot take part; empty when it can.
    """

    name: str
    opener: str
    arguments: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    converted: str | None = None
    dtype: str = "float32"
    refusal: str = ""

    @property
    def exact(self) -> bool:
        return self.dtype == "float32"


def for_artifact(path: Path, name: str, device: str) -> Contestant:
    """A converted model in its own runtime: on `cuda` ONNX alone, without TF32. Raises InputError: of no known kind."""
    arguments = {"path": str(path)}
    if device == "cpu":
        return Contestant(name, "artifact", arguments, CPU_ONLY)
    fmt = format_of(path)
    refusal = "" if fmt.name == "onnx" else f"{fmt.title} runs on the CPU here; on cuda: weights and ONNX files"
    return Contestant(name, "onnxruntime", {**arguments, "tf32": False}, refusal=refusal)


def for_weights(path: Path, size: Sequence[int], device: str, bf16: bool) -> Iterator[Contestant]:
    """Every way to run the weights of `path` on `cpu` or `cuda`."""
    yield from _on_cuda(path, size) if device == "cuda" else _on_cpu(path, size, bf16)


def _on_cpu(path: Path, size: Sequence[int], bf16: bool) -> Iterator[Contestant]:
    for step, name in TORCH.items():
        yield Contestant(name, "torch", {"path": str(path), "step": step}, CPU_ONLY)
    if bf16:
        arguments = {"path": str(path), "step": "channels_last", "dtype": "bfloat16"}
        yield Contestant("Torch channels-last bf16", "torch", arguments, CPU_ONLY, dtype="bfloat16")
    for fmt, name in RUNTIMES.items():
        yield Contestant(name, "artifact", {}, CPU_ONLY, fmt)
    if bf16:
        yield Contestant("OpenVINO bf16", "openvino", {"precision": "bf16"}, CPU_ONLY, "openvino", "bfloat16")
    for backend in KERAS_BACKENDS:
        yield _keras(path, size, backend, "cpu")


def _on_cuda(path: Path, size: Sequence[int]) -> Iterator[Contestant]:
    for step, dtype in (
        ("eager", "float32"), ("folded", "float32"), ("channels_last", "float32"), ("compiled", "float32"),
        ("channels_last", "tf32"), ("channels_last", "float16"), ("channels_last", "bfloat16"),
        ("compiled", "tf32"), ("compiled", "float16"),
    ):  # fmt: skip
        arguments = {"path": str(path), "step": step, "dtype": dtype, "device": "cuda"}
        yield Contestant(f"{TORCH[step]} {dtype}", "torch", arguments, dtype=dtype)
    for dtype in ("float32", "tf32"):
        yield Contestant(f"onnxruntime CUDA {dtype}", "onnxruntime", {"tf32": dtype == "tf32"}, {}, "onnx", dtype)
    for backend in ("torch", "jax"):
        yield _keras(path, size, backend, "cuda")


def _keras(path: Path, size: Sequence[int], backend: str, device: str) -> Contestant:
    arguments = {"path": str(path), "size": list(size), "device": device}
    environment = ON_CUDA if device == "cuda" else CPU_ONLY
    return Contestant(f"Keras on {backend}", "keras", arguments, {**environment, "KERAS_BACKEND": backend})
