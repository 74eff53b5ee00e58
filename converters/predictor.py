"""A model that is ready to run, of whatever format."""

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self, final

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError

from .embedded import EmbeddedPreprocessing

__all__ = ["TOGETHER", "Outputs", "Predictor", "WrappedPredictor", "check_channels"]

TOGETHER = 4  # photographs in one call on a GPU: each is some hundreds of MB of maps at 1024x1024

Outputs = dict[str, np.ndarray]


class Predictor(ABC):
    """A model that is ready to run, of whatever format. Channels first outside, whatever it is inside.

    Threads may share one: each call is answered as if it were alone. Where the runtime itself cannot do that, one call
    waits for the other.

    Attributes:
        concurrent: the runtime allows calls from several threads at once.
        turn: held by the call that runs where it does not; reentrant.
        size: (H, W) that it takes, None for any.
        embedded: the profile that is in its graph. It then takes pixels, uint8 (N, 3, H, W) in RGB order, and answers
            `mask`, uint8 (N, 1, H, W): grey levels, or each pixel's class.
        default: (H, W) that it is described with, when it takes several.
        multiple: of which both sides have to be one, where it takes several sizes.
        channels: of its input; None where that is not known.
        batch: batch size that it takes, None for any.
        together: how many inputs a call best takes at once where several wait; more than 1 only where `batch` is None.
        outputs: names of what it returns, in order.
        precision: the reduced precision that the file says it has; None where it says none.
        computes: the reduced precision in which its hardware may compute whatever the file holds; empty: the file's.
        stated: what of a photograph the file says that it takes, a name in `INPUTS`; None where it does not say.
        takes: the type in which the file itself takes its input, of files of integers: `int8, scale 0.02, zero point
            -4`; empty for floats. It gets the same float32 tensor.
    """

    concurrent: ClassVar[bool] = False
    turn: threading.RLock
    precision: str | None = None
    takes: str = ""
    computes: str = ""
    stated: str | None = None
    multiple: int = 1
    size: tuple[int, int] | None = None
    default: tuple[int, int] | None = None
    channels: int | None = None
    batch: int | None = None
    together: int = 1
    outputs: tuple[str, ...] = ()
    embedded: EmbeddedPreprocessing | None = None
    scratch: object = None  # a temporary folder that has to live as long as the predictor

    def __new__(cls, *_: Any, **__: Any) -> Self:
        predictor = super().__new__(cls)
        predictor.turn = threading.RLock()
        return predictor

    @final
    def __call__(self, x: np.ndarray) -> Outputs:
        """x: (N, C, H, W) float32. Returns name -> (N, out_ch, H, W) float32. See `embedded` for models of pixels."""
        with contextlib.nullcontext() if self.concurrent else self.turn:
            return self.compute(x)

    @abstractmethod
    def compute(self, x: np.ndarray) -> Outputs:
        """What a call returns, in memory that no later call writes to. Runs alone unless `concurrent`."""

    def share(self, lanes: int) -> int:
        """Prepares for `lanes` calls at once at most; returns how many of them the model works on at the same time."""
        return 1

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """(unit path, activation (N, C, h, w)) for the units that can be looked at, in execution order.

        No other thread may call the model meanwhile.
        """
        return iter(())


def check_channels(predictor: Predictor, x: np.ndarray) -> None:
    """Raises ArtifactError: x, (N, C, H, W), was prepared for a network with another input."""
    if predictor.channels not in (None, x.shape[1]):
        raise ArtifactError(
            f"the model takes {predictor.channels} channel(s), and the profile prepares {x.shape[1]};"
            " name another with --profile (grey has 1, paper 3, rgba 4)"
        )


class WrappedPredictor(Predictor):
    """Another predictor under the same facts; a subclass changes what it does and says."""

    concurrent = True  # the one inside takes its turns

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self.size, self.default, self.multiple = predictor.size, predictor.default, predictor.multiple
        self.batch, self.outputs = predictor.batch, predictor.outputs
        self.embedded, self.precision, self.takes = predictor.embedded, predictor.precision, predictor.takes
        self.stated, self.computes, self.together = predictor.stated, predictor.computes, predictor.together

    def compute(self, x: np.ndarray) -> Outputs:
        return self.predictor(x)

    def share(self, lanes: int) -> int:
        return self.predictor.share(lanes)

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        return self.predictor.taps(x, arch)
