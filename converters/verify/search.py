"""The search for the suspect that explains why a file answers otherwise than its network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..parity.outputs import difference
from .diagnosis import CERTAIN, EXPLAINS, Evidence, Explanation, varies
from .input_conventions import Run
from .known_faults import KNOWN_FAULTS, KnownFault
from .suspects import WORK, Suspects

__all__ = ["Found", "Search"]

PROMISING = 2  # how many of the best suspects are tried in pairs …
HELPS = 0.7  # … those that leave less than this part of it …
PAIRS = 24  # … and so many pairs at most: each is a run of the network
# Arithmetic at low precision: two programs agree in where they err (correlation) and in how much (ratio of the means).
# Chosen on the small network of `test_diagnosis.py`, whose fp16 and bf16 Torch models they tell from other faults.
ALIKE = 0.3
AS_LARGE = 3.0


@dataclass(frozen=True)
class Found:
    """What explains a file's difference.

    Attributes:
        run: the file under the input convention under which it does.
        names: file's name -> network's name, as they go together under it.
    """

    run: Run
    explanation: Explanation
    names: dict[str, str]


class Search:
    """Suspects against a file under each input convention, until one explains the difference or the work is spent.

    Suspects are tried one by one on the sample on which most differs, under every input convention; then the best
    in pairs; then those that make a difference of the same kind. One is believed when it explains the other samples as
    well and its own answer is more than a constant; a pair when it leaves a small part of what one of them leaves.

    Names are matched anew under each suspect: a wrong network's answers may lie nearer to another output's.

    Attributes:
        found: what explains the difference; None: nothing does.
        untried: how many suspects and pairs were passed over because the work was spent.
    """

    def __init__(self, tried: Sequence[Run], checkpoint: Checkpoint, work: float = WORK):
        self.suspects = Suspects(checkpoint, work)
        self.mean = min(run.mean for run in tried)
        ordered = sorted(tried, key=lambda run: run.distance)
        self.trials = [_Trial(run, self.suspects) for run in ordered if _can_be_explained(run.evidence)]
        self.found = self._exact() or self._alike()
        self.untried = self.suspects.untried

    def _exact(self) -> Found | None:
        """The suspect, or the two, under which the difference is gone."""
        for trial in self.trials:
            trial.singly()
            if self._certain(trial):
                return trial.found
        promising = [trial for trial in self.trials if self._enough(trial)] or self.trials
        for trial in promising:
            trial.in_pairs()
            if self._certain(trial):
                return trial.found
        found = [trial.found for trial in promising if trial.found and self._enough(trial)]
        return min(found, key=lambda each: each.explanation.left, default=None)

    def _alike(self) -> Found | None:
        """The arithmetic that errs in the same places, by as much."""
        for trial in self.trials:
            found = trial.alike()
            if found and found.explanation.left < max(self.mean, trial.run.rounding):
                return found
        return None

    def _enough(self, trial: "_Trial") -> bool:
        """More is left where the input convention is wrong."""
        found = trial.found
        return found is not None and found.explanation.left < max(EXPLAINS * self.mean, trial.run.rounding)

    def _certain(self, trial: "_Trial") -> bool:
        found = trial.found
        return found is not None and self._enough(trial) and found.explanation.left < CERTAIN * self.mean


def _can_be_explained(evidence: Sequence[Evidence]) -> bool:
    """No suspect answers what is no number, and any would be near to a constant."""
    finite = all(np.isfinite(value).all() for each in evidence for value in each.results.values())
    return finite and any(varies(each.results) for each in evidence)


class _Trial:
    """Suspects against a file under one input convention.

    Attributes:
        found: what leaves a small part of the difference.
    """

    def __init__(self, run: Run, suspects: Suspects):
        self.run, self.suspects = run, suspects
        self.first, *self.others = sorted(run.evidence, key=lambda each: -difference(each.results, each.exact)[2])
        self.results, self.exact = self.first.results, self.first.exact
        self.names, _, self.before = difference(self.results, self.exact)
        self.limit = max(EXPLAINS * self.before, self.first.rounding)
        self.left: dict[KnownFault, float] = {}
        self.found: Found | None = None

    def singly(self) -> None:
        best = self._best([(suspect,) for suspect in KNOWN_FAULTS if suspect.exact])
        self.found = best if best and best.explanation.left < self.limit else None

    def in_pairs(self) -> None:
        """Two suspects are believed when they leave a small part of what one of them leaves alone."""
        both = self._best(self._pairs())
        enough = EXPLAINS * (self.found.explanation.left if self.found else self.before)
        if both and both.explanation.left < enough:
            self.found = both

    def alike(self) -> Found | None:
        """The suspect whose differences lie in the same places and are as large."""
        found: list[tuple[float, Explanation]] = []
        theirs = np.concatenate([(self.results[a] - self.exact[b]).ravel() for a, b in self.names.items()])
        for suspect in KNOWN_FAULTS:
            if suspect.exact and not (suspect.precision and self._helps(suspect)):
                continue
            answers = self.suspects.answers((suspect,), self.first.sample)
            if answers is None:
                continue
            ours = np.concatenate([(answers[b] - self.exact[b]).ravel() for b in self.names.values()])
            like, ratio = _likeness(theirs, ours)
            if like >= ALIKE and 1 / AS_LARGE <= ratio <= AS_LARGE:
                left = difference(self.results, answers)[2]
                found.append((like, replace(_explanation((suspect,), left), exact=False)))
        return Found(self.run, max(found, key=lambda pair: pair[0])[1], self.names) if found else None

    def _best(self, groups: Sequence[tuple[KnownFault, ...]]) -> Found | None:
        """The group of suspects that leaves least, and less than everything."""
        best: Found | None = None
        for group in groups:
            answers = self.suspects.answers(group, self.first.sample) if self._matters(group[0]) else None
            if answers is None:
                continue
            names, _, left = difference(self.results, answers)
            if len(group) == 1:
                self.left[group[0]] = left
            if left < min(self.before, best.explanation.left if best else np.inf):
                if left < self.limit and not self._confirmed(group, names, left):
                    continue
                best = Found(self.run, _explanation(group, left), names)
                if left < CERTAIN * self.before:
                    break
        return best

    def _pairs(self) -> list[tuple[KnownFault, ...]]:
        """The most promising suspects, each with every other that bends another rule."""
        order = sorted(self.left, key=lambda suspect: self.left[suspect])
        front = [suspect for suspect in order[:PROMISING] if self._helps(suspect)]
        found: list[tuple[KnownFault, ...]] = [
            (a, b)
            for a, b in combinations(order, 2)
            if (a in front or b in front) and not a.rules.changed() & b.rules.changed()
        ]
        return found[:PAIRS]

    def _helps(self, suspect: KnownFault) -> bool:
        """Whether it was tried alone, and left markedly less."""
        return self.left.get(suspect, np.inf) < HELPS * self.before

    def _confirmed(self, group: tuple[KnownFault, ...], names: dict[str, str], left: float) -> bool:
        """Whether suspects that explain the first sample explain every other, and answer more than constants."""
        varied = varies(self.suspects.confirming(group, self.first.sample))
        for other in self.others:
            answers = self.suspects.confirming(group, other.sample)
            varied = varied or varies(answers)
            before, after = (
                float(np.mean([np.abs(other.results[given] - maps[name]).mean() for given, name in names.items()]))
                for maps in (other.exact, answers)
            )
            if after > max(EXPLAINS * before, 2 * left):
                return False
        return varied

    def _matters(self, suspect: KnownFault) -> bool:
        """False where the input would be the same: a photograph whose maximum is 255, a network of one channel."""
        feed, sample = suspect.rules.feed, self.first.sample
        return feed is None or not np.allclose(feed(sample), sample.x, rtol=0, atol=1e-4)


def _explanation(group: tuple[KnownFault, ...], left: float) -> Explanation:
    names, parts = (" and ".join(dict.fromkeys(v)) for v in ([s.name for s in group], [s.differs for s in group]))
    precision = group[0].precision if len(group) == 1 else None
    return Explanation(names, parts, left, all(suspect.exact for suspect in group), precision)


def _likeness(theirs: np.ndarray, ours: np.ndarray) -> tuple[float, float]:
    """(correlation of two differences, how much larger theirs is in the mean); (0, 0) of what is no number."""
    if not np.isfinite(theirs).all() or not np.isfinite(ours).all():
        return 0.0, 0.0
    like = float(theirs @ ours / max(np.linalg.norm(theirs) * np.linalg.norm(ours), 1e-30))
    return like, float(np.abs(theirs).mean() / max(np.abs(ours).mean(), 1e-30))
