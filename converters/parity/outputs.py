"""Which of a file's outputs is which of the network's: by name, or by the nearest answers of the same shape."""

from collections.abc import Mapping

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError

from ..predictor import Outputs, Predictor, WrappedPredictor

__all__ = ["BROKEN", "Renamed", "difference", "listed", "matched", "others"]

EDGE = 1e-3  # of [0, 1], which reduced precision may leave
BROKEN = 1e30  # stands for NaN and infinity


def difference(results: Outputs, answers: Outputs) -> tuple[dict[str, str], float, float]:
    """(file's name -> network's name, largest and mean absolute difference over the file's maps)."""
    finite = {
        name: np.nan_to_num(value.astype(np.float64), nan=BROKEN, posinf=BROKEN, neginf=-BROKEN)
        for name, value in _maps(results, answers).items()
    }
    names = matched(finite, answers)
    errors = [np.abs(finite[given] - answers[name]) for given, name in names.items()]
    return names, max(float(e.max()) for e in errors), float(np.mean([e.mean() for e in errors]))


def matched(results: Outputs, answers: Outputs) -> dict[str, str]:
    """File's name -> network's name: by name where the file has ours, otherwise the nearest pairs first.

    What a file answers beside the maps, features or logits, has no partner: see `others`.

    Raises:
        ArtifactError: none of its outputs has the shape of the network's, or one lacks it that is named as a map.
    """
    maps = _maps(results, answers)
    if set(maps) <= set(answers):
        return {name: name for name in maps}
    distances = {(a, b): float(np.abs(x - y).mean()) for a, x in maps.items() for b, y in answers.items()}
    names: dict[str, str] = {}
    for given, name in sorted(distances, key=lambda pair: distances[pair]):
        if given not in names and name not in names.values():
            names[given] = name
    return {given: names[given] for given in maps if given in names}


def _maps(results: Outputs, answers: Outputs) -> Outputs:
    """The file's outputs that have the shape of the network's; without logits that stand beside probabilities.

    Raises:
        ArtifactError: none has that shape, or one lacks it that is named as a map.
    """
    shape = next(iter(answers.values())).shape
    maps = {name: value for name, value in results.items() if value.shape == shape}
    wrong = [name for name in results if name not in maps and (name in answers or not maps)]
    if wrong:
        text = f"output {wrong[0]!r} has the shape {results[wrong[0]].shape}"
        raise ArtifactError(f"{text}; the network has {len(answers)} of shape {shape}")
    if set(maps) <= set(answers) or any(map(_beyond, answers.values())):  # names of ours are taken at their word
        return maps
    inside = {name: value for name, value in maps.items() if not _beyond(value)}
    return inside if any(np.isfinite(value).all() for value in inside.values()) else maps


def _beyond(value: np.ndarray) -> bool:
    """Whether these are numbers, and no probabilities; what is broken stays where it can be seen."""
    reach = float(np.abs(value - 0.5).max())
    return 0.5 + EDGE < reach < BROKEN / 2


def others(results: Outputs, names: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Name -> shape, without the batch, of what a file answers beside the maps of `names`."""
    return {name: tuple(value.shape[1:]) for name, value in results.items() if name not in names}


def listed(others: Mapping[str, tuple[int, ...]]) -> str:
    """For people: `hx1d (64, 320, 320), hx2d (64, 160, 160)`."""
    return ", ".join(f"{name} {shape}" for name, shape in others.items())


class Renamed(WrappedPredictor):
    """A predictor under the network's names for its outputs, in the network's order."""

    def __init__(self, predictor: Predictor, names: Mapping[str, str], arch: Architecture):
        super().__init__(predictor)
        self.names = {name: given for given, name in names.items()}
        self.outputs = tuple(name for name in arch.outputs if name in self.names)

    def compute(self, x: np.ndarray) -> Outputs:
        results = self.predictor(x)
        return {name: results[self.names[name]] for name in self.outputs}
