"""Which of a file's outputs is which of the network's: by name, or by the nearest answers."""

from collections.abc import Mapping

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError

from .base import Predictor
from .bent import Answer

__all__ = ["Renamed", "difference", "matched"]

BROKEN = 1e30  # stands for NaN and infinity


def difference(results: Answer, answers: Answer) -> tuple[dict[str, str], float, float]:
    """(file's name -> network's name, largest and mean absolute difference over the file's outputs)."""
    finite = {
        name: np.nan_to_num(value.astype(np.float64), nan=BROKEN, posinf=BROKEN, neginf=-BROKEN)
        for name, value in results.items()
    }
    names = matched(finite, answers)
    errors = [np.abs(finite[given] - answers[name]) for given, name in names.items()]
    return names, max(float(e.max()) for e in errors), float(np.mean([e.mean() for e in errors]))


def matched(results: Answer, answers: Answer) -> dict[str, str]:
    """File's name -> network's name: by name where the file has ours, otherwise the nearest pairs first.

    Raises:
        ArtifactError: the file has other outputs than the network: more, or of another shape.
    """
    shape = next(iter(answers.values())).shape
    wrong = [name for name, value in results.items() if value.shape != shape]
    if wrong or len(results) > len(answers):
        text = f"output {wrong[0]!r} has the shape {results[wrong[0]].shape}" if wrong else f"{len(results)} outputs"
        raise ArtifactError(f"{text}; the network has {len(answers)} of shape {shape}")
    if set(results) <= set(answers):
        return {name: name for name in results}
    distances = {(a, b): float(np.abs(x - y).mean()) for a, x in results.items() for b, y in answers.items()}
    names: dict[str, str] = {}
    for given, name in sorted(distances, key=lambda pair: distances[pair]):
        if given not in names and name not in names.values():
            names[given] = name
    return {given: names[given] for given in results}


class Renamed(Predictor):
    """A predictor under the network's names for its outputs, in the network's order."""

    def __init__(self, predictor: Predictor, names: Mapping[str, str], arch: Architecture):
        self.predictor = predictor
        self.names = {name: given for given, name in names.items()}
        self.size, self.batch = predictor.size, predictor.batch
        self.outputs = tuple(name for name in arch.outputs if name in self.names)
        self.taps = predictor.taps  # type: ignore[method-assign]

    def __call__(self, x: np.ndarray) -> Answer:
        results = self.predictor(x)
        return {name: results[self.names[name]] for name in self.outputs}
