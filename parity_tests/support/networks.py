"""Networks of the tests, with weights that keep every activation alive."""

from support.hard_weights import hard_weights

from u2net_zoo.arch import ISNET, U2NET, U2NETP, Architecture, two_level
from u2net_zoo.checkpoint import Checkpoint

ARCHS = {"u2net": U2NET, "u2netp": U2NETP, "isnet": ISNET}

# A U²-Net of the same shape and of few channels: quick to convert, and nothing is special about its widths.
SMALL = two_level(
    "small",
    [("7", 4, 8), ("6", 4, 12), ("5", 4, 8), ("4", 4, 8), ("4F", 6, 8), ("4F", 4, 8)],
    [("4F", 4, 8), ("4", 4, 8), ("5", 4, 8), ("6", 4, 8), ("7", 4, 8)],
)

# Three stages of it, where depth is no matter: a third of the operations.
TINY = two_level("tiny", [("4", 4, 8), ("4F", 4, 8), ("4F", 4, 8)], [("4F", 4, 8), ("4", 4, 8)])


def hard_checkpoint(arch: Architecture, seed: int = 1, gain: float = 1.0) -> Checkpoint:
    """Weights with live batch norm and outputs that spread over (0, 1)."""
    return Checkpoint.from_state(hard_weights(arch.state_shapes(), seed, gain))
