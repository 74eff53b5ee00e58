"""Core ML's ML Programs, evaluated op by op on any operating system.

    package = Package.open("u2netp.mlpackage")
    package.inputs, package.outputs          # names, shapes, colours
    evaluate(package, {"image": pixels})     # {"mask": …}
    for name, value in trace(package, {"image": pixels}): …

    >>> from converters.mil import supported_ops
    >>> {"conv", "max_pool", "upsample_bilinear"} <= set(supported_ops())
    True

`Package` is data; `evaluator.Machine` decodes its constants and evaluates it, as often as it is asked. Nothing here
needs macOS, and of coremltools only its protobuf classes. Torch is loaded at the first evaluation.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .package import Package

__all__ = ["Package", "constants", "evaluate", "supported_ops", "trace"]


def evaluate(package: Package, inputs: Mapping[str, np.ndarray], taps: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """The model's outputs by name, as Core ML would return them; `evaluator.Machine.evaluate`, once.

    Raises:
        UsageError, ArtifactError: see there.
    """
    from .evaluator import Machine

    return Machine(package).evaluate(inputs, taps)


def trace(package: Package, inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, value) of every operation's results, as they are computed; raises what `evaluate` raises."""
    from .evaluator import Machine

    return Machine(package).trace(inputs)


def constants(package: Package) -> Mapping[str, Any]:
    """Name -> Torch tensor (or text) of every constant, decompressed. Raises ArtifactError: one cannot be decoded."""
    from .evaluator import Machine

    return Machine(package).constants


def supported_ops() -> tuple[str, ...]:
    """Names of the ops that can be evaluated, sorted; loads Torch."""
    from .ops import known

    return tuple(sorted(known()))
