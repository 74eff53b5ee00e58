"""Core ML's ML Programs, evaluated op by op on any operating system.

    package = Package.open("u2netp.mlpackage")
    package.inputs, package.outputs          # names, shapes, colours
    evaluate(package, {"image": pixels})     # {"mask": …}
    for name, value in trace(package, {"image": pixels}): …
    convolutions(package)                    # kernels and biases in execution order

Nothing here needs macOS, and of coremltools only its protobuf classes. Torch is loaded at the first evaluation.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .package import Package

if TYPE_CHECKING:
    from .weights import Convolution

__all__ = ["Package", "convolutions", "evaluate", "supported_ops", "trace"]


def evaluate(
    package: Package, inputs: Mapping[str, np.ndarray], taps: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """The model's outputs by name, as Core ML would return them.

    Args:
        inputs: one array per input. Multi-arrays: any real type, in an allowed shape. Images: uint8 (H, W, 3) in RGB
            order whatever order the model wants, uint8 (H, W) for greyscale, float16 (H, W) for float16 greyscale.
        taps: names of intermediate values to return as well, in the type in which the program holds them.

    Raises:
        UsageError: an input is missing, unknown, or of a shape or type that the model does not take.
        ArtifactError: the program cannot be evaluated: an op that is not there (with the list of those that are), or
            one whose parameters make no sense.
    """
    return package.evaluate(inputs, taps or ())


def trace(package: Package, inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, value) of every operation's results, as they are computed; raises what `evaluate` raises."""
    return package.trace(inputs)


def convolutions(package: Package) -> "tuple[Convolution, ...]":
    """Every convolution in execution order: name, kernel (OIHW) and bias in float32, decompressed, norms folded in.

    Raises:
        ArtifactError: a weight cannot be decoded, or is no constant.
    """
    return package.convolutions()


def supported_ops() -> tuple[str, ...]:
    """Names of the ops that can be evaluated, sorted; loads Torch."""
    from .registry import load

    return tuple(sorted(load()))
