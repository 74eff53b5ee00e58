"""Who takes part: one row per way to run some weights. A new way is a row here, or an artifact on the command line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Contestant", "for_artifact", "for_weights"]

CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
FULL_PRECISION = {"JAX_DEFAULT_MATMUL_PRECISION": "highest", "NVIDIA_TF32_OVERRIDE": "0"}
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
        exact: whether it computes in float32.
    """

    name: str
    opener: str
    arguments: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    converted: str | None = None
    exact: bool = True


def for_artifact(path: Path) -> Contestant:
    """A converted model in its own runtime."""
    return Contestant(path.name, "artifact", {"path": str(path)}, CPU_ONLY)


def for_weights(path: Path, size: Sequence[int], device: str, bf16: bool) -> Iterator[Contestant]:
    """Every way to run the weights of `path` on `cpu` or `cuda`."""
    yield from _on_cuda(path, size) if device == "cuda" else _on_cpu(path, size, bf16)


def _on_cpu(path: Path, size: Sequence[int], bf16: bool) -> Iterator[Contestant]:
    for step, name in TORCH.items():
        yield Contestant(name, "torch", {"path": str(path), "step": step}, CPU_ONLY)
    if bf16:
        arguments = {"path": str(path), "step": "channels_last", "dtype": "bfloat16"}
        yield Contestant("Torch channels-last bf16", "torch", arguments, CPU_ONLY, exact=False)
    for fmt, name in RUNTIMES.items():
        yield Contestant(name, "artifact", {}, CPU_ONLY, fmt)
    if bf16:
        yield Contestant("OpenVINO bf16", "openvino", {"precision": "bf16"}, CPU_ONLY, "openvino", exact=False)
    for backend in KERAS_BACKENDS:
        yield _keras(path, size, backend, CPU_ONLY)


def _on_cuda(path: Path, size: Sequence[int]) -> Iterator[Contestant]:
    for step, dtype in (
        ("eager", "float32"), ("channels_last", "float32"), ("channels_last", "tf32"), ("channels_last", "float16"),
        ("channels_last", "bfloat16"), ("compiled", "tf32"), ("compiled", "float16"),
    ):  # fmt: skip
        arguments = {"path": str(path), "step": step, "dtype": dtype, "device": "cuda"}
        yield Contestant(f"{TORCH[step]} {dtype}", "torch", arguments, exact=dtype == "float32")
    for tf32 in (False, True):
        name = f"onnxruntime CUDA {'tf32' if tf32 else 'float32'}"
        yield Contestant(name, "onnxruntime", {"tf32": tf32}, {}, "onnx", exact=not tf32)
    for backend in ("torch", "jax"):
        yield _keras(path, size, backend, FULL_PRECISION)


def _keras(path: Path, size: Sequence[int], backend: str, environment: Mapping[str, str]) -> Contestant:
    arguments = {"path": str(path), "size": list(size)}
    return Contestant(f"Keras on {backend}", "keras", arguments, {**environment, "KERAS_BACKEND": backend})
