"""Does a file do what it says? Its own runtime beside the Torch model made from the weights that are in it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, U2ZooError

from .base import Format
from .parity import Reference, in_batches
from .sources import format_of, read_source
from .suspects import SUSPECTS

__all__ = ["Agreement", "Explanation", "agreement", "inspect"]

RATIO = 10.0  # two float32 programs may each stray from float64, and in another direction, than Torch does …
SLACK = 1e-5  # … plus this
EXPLAINS = 0.1  # a suspect explains a difference when it leaves less than this part of it …
CERTAIN = 0.01  # … and no other needs to be tried when it leaves less than this
DEFAULT_SIZE = (320, 320)
Answer = dict[str, np.ndarray]


@dataclass(frozen=True)
class Explanation:
    """A suspect, and the mean absolute difference that is left under it."""

    name: str
    differs: str
    left: float


@dataclass(frozen=True)
class Agreement:
    """What the comparison found.

    Attributes:
        ok: the file computes what its weights mean.
        outputs: names in the file -> names in the network, by which answers were compared.
        max_abs, mean_abs: differences over these outputs; `allowed` is the bound on the first.
        explanation: the suspect that explains the difference; None when they agree, or when none does.
        skipped: why nothing was run, or None.
    """

    ok: bool
    outputs: dict[str, str]
    max_abs: float
    mean_abs: float
    allowed: float
    explanation: Explanation | None = None
    skipped: str | None = None

    def summary(self) -> str:
        """One line for people."""
        if self.skipped:
            return f"not run: {self.skipped}"
        if self.ok:
            return f"agrees with its weights on {len(self.outputs)} outputs: max|Δ| {self.max_abs:.1e}"
        text = f"differs from its weights: max|Δ| {self.max_abs:.1e}, mean {self.mean_abs:.1e}"
        if self.explanation is None:
            return f"{text}; none of the known causes explains it"
        found = self.explanation
        return f"{text}; {found.differs} differs: {found.name} explains it (leaves a mean of {found.left:.1e})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"summary": self.summary()}


def inspect(path: str | Path) -> tuple[Checkpoint, Agreement]:
    """The weights in a file, and whether the file computes what they mean.

    Raises:
        InputError: the file cannot be used. A runtime that cannot run it is no error but a reason, in `skipped`.
    """
    path = Path(path)
    fmt = format_of(path)
    checkpoint = read_source(path)
    return checkpoint, agreement(fmt, path, checkpoint)


def agreement(fmt: Format, path: Path, checkpoint: Checkpoint) -> Agreement:
    """Runs `path` and the Torch model of `checkpoint` on a photograph and on noise, and compares."""
    try:
        fmt.require()
        predictor = fmt.run(path)
        reference = Reference(checkpoint, predictor.size or DEFAULT_SIZE)
        return _compared(in_batches(predictor, reference.inputs), reference)
    except U2ZooError as error:
        return Agreement(False, {}, 0.0, 0.0, 0.0, skipped=str(error))


def _compared(results: Answer, reference: Reference) -> Agreement:
    names, largest, mean = _difference(results, reference.exact)
    allowed = RATIO * max(reference.noise.values()) + SLACK
    if largest <= allowed:
        return Agreement(True, names, largest, mean, allowed)
    found = _explained(results, reference)
    return Agreement(False, found[1] if found else names, largest, mean, allowed, found[0] if found else None)


def _explained(results: Answer, reference: Reference) -> tuple[Explanation, dict[str, str]] | None:
    """The suspect that leaves a small part of the difference, with the names that go together under it.

    Names are matched anew under each suspect: a wrong network's answers may lie nearer to another output's. Only the
    photograph is looked at, and the search ends with the first suspect that leaves next to nothing.
    """
    results = {name: value[:1] for name, value in results.items()}
    before = _difference(results, {name: value[:1] for name, value in reference.exact.items()})[2]
    best: tuple[Explanation, dict[str, str]] | None = None
    for suspect in SUSPECTS:
        answers = suspect.run(reference.checkpoint, reference.inputs[:1])
        names, _, left = _difference(results, answers)
        if left < EXPLAINS * before and (best is None or left < best[0].left):
            best = Explanation(suspect.name, suspect.differs, left), names
            if left < CERTAIN * before:
                break
    return best


def _difference(results: Answer, answers: Answer) -> tuple[dict[str, str], float, float]:
    """(file's name -> network's name, largest and mean absolute difference over the file's outputs)."""
    finite = {name: np.nan_to_num(value.astype(np.float64), nan=1e30) for name, value in results.items()}
    names = _matched(finite, answers)
    errors = [np.abs(finite[given] - answers[name]) for given, name in names.items()]
    return names, max(float(e.max()) for e in errors), float(np.mean([e.mean() for e in errors]))


def _matched(results: Answer, answers: Answer) -> dict[str, str]:
    """File's name -> network's name: by name where the file has ours, otherwise the nearest pairs first.

    Raises:
        ArtifactError: the file has other outputs than the network: more, or of another shape.
    """
    if set(results) <= set(answers):
        return {name: name for name in results}
    shape = next(iter(answers.values())).shape
    wrong = [name for name, value in results.items() if value.shape != shape]
    if wrong or len(results) > len(answers):
        text = f"output {wrong[0]!r} has the shape {results[wrong[0]].shape}" if wrong else f"{len(results)} outputs"
        raise ArtifactError(f"{text}; the network has {len(answers)} of shape {shape}")
    distances = {(a, b): float(np.abs(x - y).mean()) for a, x in results.items() for b, y in answers.items()}
    names: dict[str, str] = {}
    for given, name in sorted(distances, key=lambda pair: distances[pair]):
        if given not in names and name not in names.values():
            names[given] = name
    return {given: names[given] for given in results}
