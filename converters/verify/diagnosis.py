"""Why does a file answer otherwise than its network? The first unit that differs, and the suspect that explains it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..parity.compare import Divergence
from ..parity.outputs import difference
from ..predictor import Outputs
from .faulty_network import Sample
from .quantised_files import QUANTISED, held_to
from .weights_found import Weights, WeightsFound

__all__ = ["CERTAIN", "EXPLAINS", "Diagnosis", "Evidence", "Explanation", "blank", "quantised", "varies"]

EXPLAINS = 0.1  # a suspect explains a difference when it leaves less than this part of it …
CERTAIN = 0.01  # … and no other needs to be tried when it leaves less than this
BLANK = 0.02  # a map that varies less is a constant: it explains nothing, and is explained by nothing


@dataclass(frozen=True)
class Explanation:
    """A suspect, or two together, and the mean absolute difference that is left under it.

    Attributes:
        exact: the difference is gone; False: it lies where the suspect would put it, and is as large.
        precision: the bound that such a file is held to, when this is no fault but a precision.
        tried: whether the network was run with it; False: it is what the file is, and nothing else was found.
    """

    name: str
    differs: str
    left: float
    exact: bool = True
    precision: str | None = None
    tried: bool = True
    blank: bool = False

    def text(self) -> str:
        """`resizing differs: align_corners=True explains it (leaves a mean of 2.1e-07)`."""
        if self.blank:
            return f"{self.differs} is {self.name}"
        if not self.tried:
            return f"{self.differs} differs: {self.name}; no known fault was found beside it"
        how = "explains it" if self.exact else "makes differences like these"
        return f"{self.differs} differs: {self.name} {how} (leaves a mean of {self.left:.1e})"


@dataclass(frozen=True)
class Diagnosis:
    """Where and why two networks part.

    Attributes:
        first: the first unit that differs; None when the runtime shows no inner values that can be compared, or none
            of them differs.
        explanation: the suspect that explains it; None when none does.
        weights: what the file's own weights are beside the checkpoint's.
    """

    first: Divergence | None
    explanation: Explanation | None
    weights: WeightsFound

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.weights.are is not Weights.OTHER_NETWORK:  # nothing else was looked for then
            yield (
                f"first divergence: {self.first.text()}"
                if self.first
                else "first divergence: none among the inner values that can be seen"
            )
            yield self.explanation.text() if self.explanation else "none of the known causes explains it"
        yield f"weights: {self.weights}"

    def headline(self) -> str:
        """The shortest answer."""
        if self.explanation is not None:
            return f"{self.explanation.differs}: {self.explanation.name}"
        return f"differs from {self.first.path} on" if self.first else "differs"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"weights": str(self.weights), "summary": list(self.lines())}


@dataclass(frozen=True)
class Evidence:
    """What a file answers to a sample, under its own names, and what the right network answers."""

    sample: Sample
    results: Outputs
    exact: Outputs
    rounding: float = 0.0  # mean absolute difference that the file's own rounding leaves at most

    @property
    def compared(self) -> Outputs:
        """What the right network answers of that: a file may lack outputs."""
        return {name: self.exact[name] for name in difference(self.results, self.exact)[0].values()}


def blank(evidence: Sequence[Evidence]) -> Explanation | None:
    """A file that answers next to the same everywhere, where the right network does not."""
    telling = [each for each in evidence if varies(each.compared)]
    values = np.concatenate([value.ravel() for each in evidence for value in each.results.values()])
    if not telling or not np.isfinite(values).all() or any(varies(each.results) for each in evidence):
        return None
    name = f"blank: from {values.min():.3g} to {values.max():.3g} everywhere"
    left = float(np.mean([difference(each.results, each.exact)[2] for each in telling]))
    return Explanation(name, "the answer", left, exact=False, blank=True)


def varies(maps: Outputs) -> bool:
    """Whether one of the maps is more than a constant."""
    return any(float(np.ptp(value)) >= BLANK for value in maps.values())


def quantised(found: Checkpoint, left: float) -> Explanation | None:
    """What is said of a quantised file that no fault explains; None where its kernels are stored in floats."""
    note = found.meta.get(QUANTISED)
    name, precision = f"computed with kernels of {note}", held_to(found)
    return Explanation(name, "the arithmetic", left, False, precision, tried=False) if note else None
