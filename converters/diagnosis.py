"""Why does a file answer otherwise than its network? The first unit that differs, and the suspect that explains it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from .bent import Answer, Sample
from .matching import difference
from .parity import Divergence, relative
from .suspects import SUSPECTS, Suspect

__all__ = ["OTHER", "Diagnosis", "Explanation", "compare_weights", "explain"]

EXPLAINS = 0.1  # a suspect explains a difference when it leaves less than this part of it …
CERTAIN = 0.01  # … and no other needs to be tried when it leaves less than this
PROMISING = 2  # how many of the best suspects are tried in pairs …
HELPS = 0.7  # … those that leave less than this part of it
# Arithmetic at low precision: two programs agree in where they err (correlation) and in how much (ratio of the means).
# Chosen on the small network of `test_diagnosis.py`, whose fp16 and bf16 Torch models they tell from other faults.
ALIKE = 0.3
SAME = 1e-4  # relative (L2) to a folded kernel or bias: batch norm folded in another order, in float32
AS_LARGE = 3.0
OTHER = "another network"


@dataclass(frozen=True)
class Explanation:
    """A suspect, or two together, and the mean absolute difference that is left under it.

    Attributes:
        exact: the difference is gone; False: it lies where the suspect would put it, and is as large.
        precision: the bound that such a file is held to, when this is no fault but a precision.
    """

    name: str
    differs: str
    left: float
    exact: bool = True
    precision: str | None = None

    def text(self) -> str:
        """`resizing differs: align_corners=True explains it (leaves a mean of 2.1e-07)`."""
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
    weights: str

    def lines(self) -> Iterator[str]:
        """For people."""
        if not self.weights.startswith(OTHER):  # nothing else was looked for then
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
        return asdict(self) | {"summary": list(self.lines())}


def explain(
    results: Answer, checkpoint: Checkpoint, exact: Answer, sample: Sample
) -> tuple[Explanation, dict[str, str]] | None:
    """The suspect that leaves a small part of the difference, with the names that go together under it.

    Names are matched anew under each suspect: a wrong network's answers may lie nearer to another output's. The search
    ends with the first suspect that leaves next to nothing; otherwise the best are tried in pairs, and a pair is
    believed when it leaves a small part of what one of them leaves alone.

    Args:
        results: the file's answers to the sample, under the file's names.
        exact: the right network's.
    """
    trial = _Trial(results, checkpoint, exact, sample)
    best = trial.best([(suspect,) for suspect in SUSPECTS if suspect.exact])
    left = best[0].left if best else trial.before
    if left >= CERTAIN * trial.before:
        both = trial.best(trial.pairs())
        enough = EXPLAINS * (left if left < EXPLAINS * trial.before else trial.before)
        best = both if both and both[0].left < enough else best
    if best is not None and best[0].left < EXPLAINS * trial.before:
        return best
    return trial.alike([suspect for suspect in SUSPECTS if not suspect.exact])


class _Trial:
    """Suspects against one sample."""

    def __init__(self, results: Answer, checkpoint: Checkpoint, exact: Answer, sample: Sample):
        from u2net_zoo import torch_model

        self.results, self.checkpoint, self.exact, self.sample = results, checkpoint, exact, sample
        self.names, _, self.before = difference(results, exact)
        self.left: dict[Suspect, float] = {}
        self.model = torch_model.build(checkpoint)

    def best(self, groups: Sequence[tuple[Suspect, ...]]) -> tuple[Explanation, dict[str, str]] | None:
        """The group of suspects that leaves least, and less than everything."""
        found: tuple[Explanation, dict[str, str]] | None = None
        for group in groups:
            if not self._matters(group[0]):
                continue
            names, _, left = difference(self.results, self._answers(group))
            if len(group) == 1:
                self.left[group[0]] = left
            if left < min(self.before, found[0].left if found else np.inf):
                found = _explanation(group, left), names
                if left < CERTAIN * self.before:
                    break
        return found

    def pairs(self) -> list[tuple[Suspect, ...]]:
        """The most promising suspects, each with every other that bends another rule."""
        order = sorted(self.left, key=lambda suspect: self.left[suspect])
        front = [suspect for suspect in order[:PROMISING] if self.left[suspect] < HELPS * self.before]
        return [
            (a, b)
            for a, b in combinations(order, 2)
            if (a in front or b in front) and not a.rules.changed() & b.rules.changed()
        ]

    def alike(self, suspects: Sequence[Suspect]) -> tuple[Explanation, dict[str, str]] | None:
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
                found.append((like, _explanation((suspect,), left)))
        return (max(found, key=lambda pair: pair[0])[1], self.names) if found else None

    def _answers(self, group: tuple[Suspect, ...]) -> Answer:
        rules = group[0].rules
        for suspect in group[1:]:
            rules = rules.and_(suspect.rules)
        return rules.run(self.checkpoint, self.sample, self.model)

    def _matters(self, suspect: Suspect) -> bool:
        """False where what would be fed is what is fed: a photograph whose maximum is 255, a network of one channel."""
        feed = suspect.rules.feed
        return feed is None or not np.allclose(feed(self.sample), self.sample.x, rtol=0, atol=1e-4)


def _explanation(group: tuple[Suspect, ...], left: float) -> Explanation:
    names, parts = (" and ".join(dict.fromkeys(v)) for v in ([s.name for s in group], [s.differs for s in group]))
    precisions = [suspect.precision for suspect in group]
    precision = precisions[0] if len(group) == 1 else None
    return Explanation(names, parts, left, all(suspect.exact for suspect in group), precision)


def compare_weights(found: Checkpoint, expected: Checkpoint) -> str:
    """What a file's weights are beside the checkpoint's, in words; batch norm is folded in both."""
    a, b = found.fold(), expected.fold()
    if a.arch.state_shapes() != b.arch.state_shapes():
        ours, theirs = f"{expected.arch.name} ({expected.arch.parameters():,})", found.arch.parameters()
        return f"{OTHER}: {found.arch.name} with {theirs:,} parameters; the checkpoint is {ours}"
    off = {key: relative(a.state[key], b.state[key]) for key in a.arch.state_shapes()}
    path = max(off, key=lambda key: off[key])
    worst = off[path]
    if worst < SAME:
        return "the checkpoint's, to within float32's rounding"
    return f"not the checkpoint's: {path} is off by {100 * worst:.2g} % (L2), more than any other"
