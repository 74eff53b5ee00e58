"""Activations that a U²-Net does not have: behind its convolutions stands ReLU, or the weights mean another network."""

import re
from collections.abc import Iterable, Sequence
from math import isfinite

from u2net_zoo.arch import Unit
from u2net_zoo.errors import NotANetworkError

__all__ = ["clamp", "is_other", "named_in", "refuse"]

# As frameworks call them, without underscores; those that are no activations of a convolution (a sigmoid ends a side).
_OTHERS = """
    celu clampedrelu elu gelu geluapproximate geluquick hardsigmoid hardswish hardtanh hswish leakyrelu mish prelu relu6
    relun1to1 relu0to1 selu silu softplus softsign swish tanh thresholdedrelu
"""
OTHERS = frozenset(_OTHERS.split())
CLAMP = "Clamp("
CALLS = re.compile(r"\b(?:aten\.|aten::|torch\.|torch\.ops\.aten\.)(\w+)")
ENDLESS = 65504.0  # float16's largest number: some converters end ReLU there


def clamp(low: float, high: float) -> str:
    """The kind of a node that cuts values off at `low` and `high`: `Relu`, `Clamp(0, 6)`, `Identity` for no limits."""
    above = not isfinite(high) or high >= ENDLESS
    if above and low == 0:
        return "Relu"
    return "Identity" if above and not low > -ENDLESS else f"{CLAMP}{low:g}, {high:g})"


def is_other(kind: str) -> bool:
    """Whether a node of this kind is an activation other than ReLU."""
    return kind.startswith(CLAMP) or kind.lower().replace("_", "") in OTHERS


def named_in(code: str) -> str:
    """The first such activation that Torch's code calls, `torch.leaky_relu(…)`; empty where it calls none."""
    return next((name for name in CALLS.findall(code) if is_other(name.rstrip("_"))), "")


def refuse(units: Iterable[Unit], kinds: Sequence[str]) -> None:
    """Raises NotANetworkError where one of `kinds`, by unit, stands in the place of a unit's ReLU."""
    found = [(unit.path, kind) for unit, kind in zip(units, kinds, strict=False) if unit.relu and kind]
    if found:
        path, kind = found[0]
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise NotANetworkError(f"not a U²-Net: {kind} behind {path}{more}, where ReLU is expected")
