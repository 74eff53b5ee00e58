"""Weights in a runtime that was named: written for it once, kept, and opened from there the next time."""

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path

from u2net_zoo import __version__
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import AssumptionWarning, U2ZooError
from u2net_zoo.system import scratch_folder

from ..predictor import Predictor
from . import kept
from .choice import WRITTEN, Weights
from .kept import Kept
from .runtimes import Candidate
from .surroundings import digest_of, versions_of

__all__ = ["Write", "open_asked"]

Write = Callable[[Checkpoint, Path], Path]  # writes the network into a folder; returns its file
KIND = "asked"


def open_asked(
    weights: Weights, wanted: Candidate, size: tuple[int, int], device: str, write: Write, *, proved: bool
) -> Predictor:
    """The weights in the runtime of a format; the file is kept where the cache can be written.

    Args:
        size: (H, W) that it is written for.
        write: makes the file that is not there yet. Raises U2ZooError.
        proved: whether it compares the file with the weights; kept apart from those that were not.

    Raises:
        U2ZooError: the weights cannot be read, written for the runtime, or run.
    """
    versions = versions_of([wanted])
    key = digest_of([weights.digest, wanted.name, versions, size, proved, KIND, WRITTEN, __version__])
    return _known(weights, wanted, device, key) or _made(weights, wanted, device, key, write)


def _known(weights: Weights, wanted: Candidate, device: str, key: str) -> Predictor | None:
    record = kept.read(KIND, key) or {}
    place = Kept(key, Path(str(record.get("file"))).name)
    if not place.whole(record.get("sha256")):
        return None
    with contextlib.suppress(U2ZooError, OSError):  # another process may have made room meanwhile
        predictor = wanted.open(place.path, device)
        for text in (record.get("assumed") or ()) if weights.source else ():
            warnings.warn(f"{weights.source}: {text}", AssumptionWarning, stacklevel=6)
        return predictor
    return None


def _made(weights: Weights, wanted: Candidate, device: str, key: str, write: Write) -> Predictor:
    checkpoint, folder = weights.read(), scratch_folder()
    made = write(checkpoint, Path(folder.name))
    path = Kept(key, made.name).take(made)
    predictor = wanted.open(path, device)
    if path == made:  # not kept: it must last as long as what runs it
        predictor.scratch = folder
        return predictor
    record = {"file": made.name, "sha256": kept.sha256_of(path), "assumed": list(checkpoint.assumed)}
    kept.write(KIND, key, record)
    return predictor
