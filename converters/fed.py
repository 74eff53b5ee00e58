"""One way to feed a file, and its answers beside the reference's."""

import numpy as np

from .base import Predictor
from .bent import Answer, Sample
from .feeding import Feeding
from .matching import Renamed, difference
from .parity import Reference, in_batches

__all__ = ["DECADES", "Fed", "Once", "histogram"]

DECADES = np.arange(-9.0, 0.25, 0.25)  # of the error's histogram: edges of the bins, log10


class Fed:
    """A file under one feeding: its answers beside the reference's.

    Args:
        raw: the file, wrapped so that it takes the network's tensor.
        sample, number: the photograph among the reference's inputs that suspects are tried on.
    """

    def __init__(self, raw: Predictor, reference: Reference, feeding: Feeding, sample: Sample, number: int):
        self.raw, self.reference, self.feeding, self.sample = raw, reference, feeding, sample
        self.once = Once(raw)
        every = in_batches(self.once, reference.inputs)
        self.results, self.exact = (
            {name: value[number : number + 1] for name, value in maps.items()} for maps in (every, reference.exact)
        )
        self.names, self.largest, self.mean = difference(every, reference.exact)

    def named(self, names: dict[str, str]) -> Predictor:
        """The file under the network's names; what it was asked before is remembered."""
        return Renamed(self.once, names, self.reference.checkpoint.arch)

    def histogram(self) -> tuple[int, ...]:
        """Of the first output's absolute error, by decades."""
        predictor = self.named(self.names)
        name = predictor.outputs[0]
        return histogram(in_batches(predictor, self.reference.inputs)[name], self.reference.exact[name])


class Once(Predictor):
    """A predictor that runs the same tensor once, one picture at a time: its memory is then what a user sees."""

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self.size, self.batch, self.outputs = predictor.size, predictor.batch or 1, predictor.outputs
        self.taps = predictor.taps  # type: ignore[method-assign]
        self.answers: dict[bytes, Answer] = {}

    def __call__(self, x: np.ndarray) -> Answer:
        key = x.tobytes()
        if key not in self.answers:
            self.answers[key] = self.predictor(x)
        return self.answers[key]


def histogram(result: np.ndarray, exact: np.ndarray | np.floating) -> tuple[int, ...]:
    """How many values lie in each of the bins of `DECADES`, by log10 of the absolute error."""
    error = np.nan_to_num(np.abs(result - exact), nan=10.0, posinf=10.0)
    places = np.log10(np.maximum(error, 10 ** DECADES[0]))
    return tuple(int(n) for n in np.histogram(np.clip(places, DECADES[0], DECADES[-1]), DECADES)[0])
