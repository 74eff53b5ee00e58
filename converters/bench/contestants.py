"""Who takes part: one row per way to run some weights. A new way is a row here, or an artifact on the command line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..isolated import ARTIFACT
from ..loading import format_of
from ..registry import FORMATS

__all__ = ["ON_CUDA", "Contestant", "for_artifact", "for_weights"]

CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
# JAX, and Keras on Torch, take TF32 for products unless told otherwise; JAX also takes most of the GPU's memory.
ON_CUDA = {
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "NVIDIA_TF32_OVERRIDE": "0",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
TORCH_VARIANT = "converters.bench.torch_variants:TorchVariant"
KERAS_VARIANT = "converters.bench.keras_variants:KerasVariant"
KERAS_BACKENDS = ("tensorflow", "jax", "torch")
TORCH = {"eager": "Torch eager", "folded": "Torch folded", "channels_last": "Torch channels-last",
         "compiled": "Torch compiled"}  # fmt: skip


@dataclass(frozen=True)
class Contestant:
    """One way to run a network.

    Attributes:
        name: for people.
        opener, arguments, environment: see `isolated.IsolatedPredictor`.
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
    arguments, fmt = {"path": str(path)}, format_of(path)
    if device == "cpu":
        return Contestant(f"{name}, evaluated" if fmt.evaluated() else name, ARTIFACT, arguments, CPU_ONLY)
    lane = next((lane for lane in fmt.lanes if lane.device == device and lane.artifacts), None)
    if lane:
        return Contestant(name, lane.opener, {**arguments, **lane.arguments})
    able = [each.title for each in FORMATS.values() if any(lane.artifacts for lane in each.lanes)]
    refusal = f"{fmt.title} runs on the CPU here; on {device}: weights and {', '.join(able)} files"
    return Contestant(name, ARTIFACT, arguments, refusal=refusal)


def for_weights(path: Path, size: Sequence[int], device: str, bf16: bool) -> Iterator[Contestant]:
    """Every way to run the weights of `path` on `cpu` or `cuda`."""
    yield from _on_cuda(path, size) if device == "cuda" else _on_cpu(path, size, bf16)


def _on_cpu(path: Path, size: Sequence[int], bf16: bool) -> Iterator[Contestant]:
    for step, name in TORCH.items():
        yield Contestant(name, TORCH_VARIANT, {"path": str(path), "step": step}, CPU_ONLY)
    if bf16:
        arguments = {"path": str(path), "step": "channels_last", "dtype": "bfloat16"}
        yield Contestant("Torch channels-last bf16", TORCH_VARIANT, arguments, CPU_ONLY, dtype="bfloat16")
    yield from (each for each in _of_formats("cpu", CPU_ONLY) if bf16 or each.exact)
    for backend in KERAS_BACKENDS:
        yield _keras(path, size, backend, "cpu")


def _on_cuda(path: Path, size: Sequence[int]) -> Iterator[Contestant]:
    for step, dtype in (
        ("eager", "float32"), ("folded", "float32"), ("channels_last", "float32"), ("compiled", "float32"),
        ("channels_last", "tf32"), ("channels_last", "float16"), ("channels_last", "bfloat16"),
        ("compiled", "tf32"), ("compiled", "float16"),
    ):  # fmt: skip
        arguments = {"path": str(path), "step": step, "dtype": dtype, "device": "cuda"}
        yield Contestant(f"{TORCH[step]} {dtype}", TORCH_VARIANT, arguments, dtype=dtype)
    yield from _of_formats("cuda", {})
    for backend in ("torch", "jax"):
        yield _keras(path, size, backend, "cuda")


def _of_formats(device: str, environment: Mapping[str, str]) -> Iterator[Contestant]:
    """The formats' own runtimes; weights are converted first."""
    for fmt in FORMATS.values():
        for lane in (lane for lane in fmt.lanes if lane.device == device):
            opener = lane.opener or ARTIFACT
            yield Contestant(lane.name, opener, lane.arguments, environment, fmt.name, lane.dtype)


def _keras(path: Path, size: Sequence[int], backend: str, device: str) -> Contestant:
    arguments = {"path": str(path), "size": list(size), "device": device}
    environment = ON_CUDA if device == "cuda" else CPU_ONLY
    return Contestant(f"Keras on {backend}", KERAS_VARIANT, arguments, {**environment, "KERAS_BACKEND": backend})
