"""Why does a file answer otherwise than its network? The first unit that differs, and the suspect that explains it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..parity.compare import Divergence
from ..parity.outputs import difference
from ..predictor import Outputs
from .faulty_network import Sample
from .known_faults import KNOWN_FAULTS, KnownFault
from .quantised_files import QUANTISED, quantised_to
from .weights_found import Weights, WeightsFound

__all__ = [
    "CERTAIN",
    "EXPLAINS",
    "Diagnosis",
    "Evidence",
    "Explanation",
    "blank",
    "explain",
    "quantised",
]

EXPLAINS = 0.1  # a suspect explains a difference when it leaves less than this part of it …
CERTAIN = 0.01  # … and no other needs to be tried when it leaves less than this
PROMISING = 2  # how many of the best suspects are tried in pairs …
HELPS = 0.7  # … those that leave less than this part of it …
PAIRS = 24  # … and so many pairs at most: each is a run of the network
BLANK = 0.02  # a map that varies less is a constant: it explains nothing, and is explained by nothing
# Arithmetic at low precision: two programs agree in where they err (correlation) and in how much (ratio of the means).
# Chosen on the small network of `test_diagnosis.py`, whose fp16 and bf16 Torch models they tell from other faults.
ALIKE = 0.3
AS_LARGE = 3.0


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
    telling = [each for each in evidence if _varies(each.compared)]
    values = np.concatenate([value.ravel() for each in evidence for value in each.results.values()])
    if not telling or not np.isfinite(values).all() or any(_varies(each.results) for each in evidence):
        return None
    name = f"blank: from {values.min():.3g} to {values.max():.3g} everywhere"
    left = float(np.mean([difference(each.results, each.exact)[2] for each in telling]))
    return Explanation(name, "the answer", left, exact=False, blank=True)


def explain(evidence: Sequence[Evidence], checkpoint: Checkpoint) -> tuple[Explanation, dict[str, str]] | None:
    """The suspect that leaves a small part of the difference, with the names that go together under it.

    Suspects are tried on the sample on which most differs. One is believed when it explains the others as well, and
    when its own answer is more than a constant.

    Names are matched anew under each suspect: a wrong network's answers may lie nearer to another output's. The search
    ends with the first suspect that leaves next to nothing; otherwise the best are tried in pairs, and a pair is
    believed when it leaves a small part of what one of them leaves alone.
    """
    if not all(np.isfinite(value).all() for each in evidence for value in each.results.values()):
        return None  # no suspect answers what is no number
    if not any(_varies(each.results) for each in evidence):
        return None
    trial = _Trial(evidence, checkpoint)
    best = trial.best([(suspect,) for suspect in KNOWN_FAULTS if suspect.exact])
    left = best[0].left if best else trial.before
    if left >= CERTAIN * trial.before:
        both = trial.best(trial.pairs())
        enough = EXPLAINS * (left if left < trial.limit else trial.before)
        best = both if both and both[0].left < enough else best
    if best is not None and best[0].left < trial.limit:
        return best
    return trial.alike([s for s in KNOWN_FAULTS if not s.exact or (s.precision and trial.helps(s))])


def _varies(maps: Outputs) -> bool:
    return any(float(np.ptp(value)) >= BLANK for value in maps.values())


class _Trial:
    """Suspects against the sample on which most differs; the others confirm."""

    def __init__(self, evidence: Sequence[Evidence], checkpoint: Checkpoint):
        from u2net_zoo import torch_model

        self.first, *self.others = sorted(evidence, key=lambda each: -difference(each.results, each.exact)[2])
        self.checkpoint, self.sample = checkpoint, self.first.sample
        self.results, self.exact = self.first.results, self.first.exact
        self.names, _, self.before = difference(self.results, self.exact)
        self.limit = max(EXPLAINS * self.before, self.first.rounding)
        self.left: dict[KnownFault, float] = {}
        self.model = torch_model.build(checkpoint)

    def best(self, groups: Sequence[tuple[KnownFault, ...]]) -> tuple[Explanation, dict[str, str]] | None:
        """The group of suspects that leaves least, and less than everything."""
        found: tuple[Explanation, dict[str, str]] | None = None
        for group in groups:
            if not self._matters(group[0]):
                continue
            names, _, left = difference(self.results, self._answers(group))
            if len(group) == 1:
                self.left[group[0]] = left
            if left < min(self.before, found[0].left if found else np.inf):
                if left < self.limit and not self._confirmed(group, names, left):
                    continue
                found = _explanation(group, left), names
                if left < CERTAIN * self.before:
                    break
        return found

    def pairs(self) -> list[tuple[KnownFault, ...]]:
        """The most promising suspects, each with every other that bends another rule."""
        order = sorted(self.left, key=lambda suspect: self.left[suspect])
        front = [suspect for suspect in order[:PROMISING] if self.helps(suspect)]
        found: list[tuple[KnownFault, ...]] = [
            (a, b)
            for a, b in combinations(order, 2)
            if (a in front or b in front) and not a.rules.changed() & b.rules.changed()
        ]
        return found[:PAIRS]

    def helps(self, suspect: KnownFault) -> bool:
        """Whether it was tried alone, and left markedly less."""
        return self.left.get(suspect, np.inf) < HELPS * self.before

    def alike(self, suspects: Sequence[KnownFault]) -> tuple[Explanation, dict[str, str]] | None:
        """The suspect whose differences lie in the same places and are as large."""
        found: list[tuple[float, Explanation]] = []
        theirs = np.concatenate([(self.results[a] - self.exact[b]).ravel() for a, b in self.names.items()])
        for suspect in suspects:
            answers = self._answers((suspect,))
            ours = np.concatenate([(answers[b] - self.exact[b]).ravel() for b in self.names.values()])
            if not np.isfinite(theirs).all() or not np.isfinite(ours).all():
                continue
            like = float(theirs @ ours / max(np.linalg.norm(theirs) * np.linalg.norm(ours), 1e-30))
            ratio = float(np.abs(theirs).mean() / max(np.abs(ours).mean(), 1e-30))
            if like >= ALIKE and 1 / AS_LARGE <= ratio <= AS_LARGE:
                left = difference(self.results, answers)[2]
                found.append((like, replace(_explanation((suspect,), left), exact=False)))
        return (max(found, key=lambda pair: pair[0])[1], self.names) if found else None

    def _confirmed(self, group: tuple[KnownFault, ...], names: dict[str, str], left: float) -> bool:
        """Whether suspects that explain the first sample explain every other, and answer more than constants."""
        varied = _varies(self._answers(group))
        for other in self.others:
            answers = self._answers(group, other.sample)
            varied = varied or _varies(answers)
            before, after = (
                float(np.mean([np.abs(other.results[given] - maps[name]).mean() for given, name in names.items()]))
                for maps in (other.exact, answers)
            )
            if after > max(EXPLAINS * before, 2 * left):
                return False
        return varied

    def _answers(self, group: tuple[KnownFault, ...], sample: Sample | None = None) -> Outputs:
        rules = group[0].rules
        for suspect in group[1:]:
            rules = rules.and_(suspect.rules)
        return rules.run(self.checkpoint, sample or self.sample, self.model)

    def _matters(self, suspect: KnownFault) -> bool:
        """False where what would be fed is what is fed: a photograph whose maximum is 255, a network of one channel."""
        feed = suspect.rules.feed
        return feed is None or not np.allclose(feed(self.sample), self.sample.x, rtol=0, atol=1e-4)


def _explanation(group: tuple[KnownFault, ...], left: float) -> Explanation:
    names, parts = (" and ".join(dict.fromkeys(v)) for v in ([s.name for s in group], [s.differs for s in group]))
    precisions = [suspect.precision for suspect in group]
    precision = precisions[0] if len(group) == 1 else None
    return Explanation(names, parts, left, all(suspect.exact for suspect in group), precision)


def quantised(found: Checkpoint, left: float) -> Explanation | None:
    """What is said of a quantised file that no fault explains; None where its kernels are stored in floats."""
    note = found.meta.get(QUANTISED)
    name, precision = f"computed with kernels of {note}", quantised_to(found)
    return Explanation(name, "the arithmetic", left, False, precision, tried=False) if note else None
