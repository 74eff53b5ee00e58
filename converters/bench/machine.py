"""What a benchmark ran on: the processor's or the GPU's name, and the versions of the packages."""

from importlib.metadata import packages_distributions, version

from u2net_zoo.system import processor_name, processors

from ..registry import FORMATS

__all__ = ["machine", "versions"]

ALSO = ("torch", "numpy", "jax")  # of the weights' own rows, and of a Keras backend


def machine(device: str) -> str:
    """`NVIDIA H200`, or the processor with the cores that this process may use."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return f"{processor_name()}, {processors()} cores"


def versions() -> dict[str, str]:
    """Installed distributions of what runs a format."""
    modules = {*ALSO, *(name for fmt in FORMATS.values() for name in fmt.running or fmt.packages)}
    installed = packages_distributions()
    found = {name for module in modules for name in installed.get(module, ())}
    return {name: version(name) for name in sorted(found)}
