"""The ops, one file per group. Importing this package registers them all.

Parameters keep MIL's names, meanings and defaults, for every version of an op from iOS 15 to iOS 18.
Source of every definition: the op's docstring below `coremltools/converters/mil/mil/ops/defs`, unless stated otherwise.
"""

from u2net_zoo.errors import ArtifactError

from ..registry import REGISTRY, Entry
from . import (  # noqa: F401 - importing a group registers its ops
    activation,
    binary,
    constexpr,
    conv,
    indexing,
    joining,
    linear,
    normalization,
    pool,
    quantization,
    reduction,
    resize,
    shape,
    unary,
)

__all__ = ["find", "known"]


def known() -> dict[str, Entry]:
    """Every op that can be evaluated, by name."""
    return REGISTRY


def find(kind: str) -> Entry:
    """The entry of op `kind`.

    Raises:
        ArtifactError: there is none; names it and lists those there.
    """
    if kind not in REGISTRY:
        raise ArtifactError(f"op {kind!r} is not supported; there are: {', '.join(sorted(REGISTRY))}")
    return REGISTRY[kind]
