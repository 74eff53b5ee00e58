"""What a file's own weights are beside a checkpoint's."""

from dataclasses import dataclass
from enum import Enum

from u2net_zoo.checkpoint import Checkpoint

from ..parity.compare import relative
from .quantised_files import rounded_note

__all__ = ["Weights", "WeightsFound", "compare_weights"]

SAME = 1e-4  # relative (L2) to a folded kernel or bias: batch norm folded in another order, in float32


class Weights(Enum):
    """What a file's weights are beside the checkpoint's."""

    SAME = "the checkpoint's, to within float32's rounding"
    ROUNDED = "the checkpoint's, rounded"
    DIFFERENT = "not the checkpoint's"
    OTHER_NETWORK = "another network"
    UNREADABLE = "cannot be read"


@dataclass(frozen=True)
class WeightsFound:
    """The answer, and what is to be said of it."""

    are: Weights
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.are.value}{self.detail}"


def compare_weights(found: Checkpoint, expected: Checkpoint) -> WeightsFound:
    """What a file's weights are beside the checkpoint's; batch norm is folded in both."""
    a, b = found.fold(), expected.fold()
    if a.arch.state_shapes() != b.arch.state_shapes():
        ours, theirs = f"{expected.arch.name} ({expected.arch.parameters():,})", found.arch.parameters()
        detail = f": {found.arch.name} with {theirs:,} parameters; the checkpoint is {ours}"
        return WeightsFound(Weights.OTHER_NETWORK, detail)
    off = {key: relative(a.state[key], b.state[key]) for key in a.arch.state_shapes()}
    path = max(off, key=lambda key: off[key])
    worst = off[path]
    if worst < SAME:
        return WeightsFound(Weights.SAME)
    if note := rounded_note(found, expected):
        return WeightsFound(Weights.ROUNDED, f": {note}")
    return WeightsFound(Weights.DIFFERENT, f": {path} is off by {100 * worst:.2g} % (L2), more than any other")
