"""How large an artifact will be: its weights at their precision, and what a format writes beside them."""

import math

from u2net_zoo.arch import Architecture

from ..format import Format
from ..options import W8A8, Options
from ..quantise.rounding import BITS

__all__ = ["expected_bytes"]

PRECISIONS = {"fp32": 32, "fp16": 16, W8A8: 8, **BITS}  # bits of a weight


def expected_bytes(fmt: Format, arch: Architecture, options: Options) -> int:
    """Bytes of the artifact with these settled options.

    At a precision that is measured it is the least: which layers stay in float is known when they were measured.
    """
    weights = _count(fmt, arch) * PRECISIONS[options.precision or "fp32"] // 8
    return fmt.expected_bytes(weights, len(list(arch.units())))


def _count(fmt: Format, arch: Architecture) -> int:
    """Numbers that a file holds: files of weights keep batch norm, all others have it in their kernels."""
    if fmt.has_graph:
        return arch.fold().parameters()
    return sum(math.prod(shape) for shape in arch.state_shapes().values())
