"""Files that compute in few bits: what they are held to, and what is said where they part from their network."""

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..embedded import ARITHMETIC, QUANTISED
from ..options import W8A8

__all__ = ["QUANTISED", "held_to", "precision_of", "quantised_to", "rounded_note"]

NARROW = 1  # bit fewer than the type has: what `reduce_range` leaves, and what a zero point can take
SLACK = 1.02  # on half a step: a float's own rounding


def quantised_to(checkpoint: Checkpoint) -> str:
    """`int8` where the kernels were stored in 8 bits, signed or not; empty of a checkpoint that was not quantised."""
    return checkpoint.meta.get(QUANTISED, "").partition(" ")[0].removeprefix("u")


def held_to(checkpoint: Checkpoint) -> str:
    """The precision whose bound a file with these weights is held to, where it names none itself; empty: float32's."""
    return W8A8 if ARITHMETIC in checkpoint.meta else quantised_to(checkpoint)


def precision_of(checkpoint: Checkpoint) -> str:
    """What its weights carry: `int8` …; `fp16` when every kernel lies on float16's grid, whatever its type is."""
    kernels = [value for key, value in checkpoint.state.items() if value.ndim == 4]
    with np.errstate(over="ignore"):
        half = all((k.astype(np.float16) == k).all() for k in kernels)
    return quantised_to(checkpoint) or ("fp16" if half else "fp32")


def rounded_note(found: Checkpoint, expected: Checkpoint) -> str:
    """What `found` was stored in, when rounding to that explains every folded weight's difference; otherwise empty.

    A bias is rounded in steps of its kernel's and its input's scales, which are about as large as the kernel's.
    """
    precision = quantised_to(found)
    digits = precision.removeprefix("int")
    if not digits.isdecimal():
        return ""
    half = SLACK / 2 ** (int(digits) - NARROW)
    a, b = found.fold(), expected.fold()
    for unit in b.arch.units():
        names = [f"{unit.conv_path}.{leaf}" for leaf in ("weight", "bias")]
        reach = max(float(np.abs(b.state[name]).max()) for name in names)
        if any(float(np.abs(a.state[name] - b.state[name]).max()) > half * reach for name in names):
            return ""
    return found.meta[QUANTISED]
