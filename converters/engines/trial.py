"""Candidates tried on one network: each in a process of its own, right before fast, within a budget of seconds."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import U2ZooError, one_line
from u2net_zoo.preprocessing import Profile
from u2net_zoo.session import MaskSession

from ..isolated import IsolatedPredictor
from ..predictor import Predictor
from ..progress import report
from .runtimes import TORCH, Candidate, candidate, read_network, write_network

__all__ = ["Trial", "Tried", "agree", "open_candidate"]

OPENER = f"{__name__}:open_candidate"
PHOTOGRAPHS = ("astronaut", "rocket")  # a person and clothes; a thing and sky. Both of scikit-image, without rights
NETWORK = "network.safetensors"

# Seconds. Three candidates at 320 took 7 in all for u2netp and 16 for u2net, on two busy cores (2026-11-26); the budget
# is for larger ones.
BUDGET = 20.0
SHARE = 2.0  # of timed runs of one candidate
LIMIT = 30.0  # for one answer; the first includes the start, writing and compiling
RUNS = 5  # timed ones at most: the quickest counts, for whatever else runs here makes them slower only
HOPELESS = 2.0  # a first run that takes so many times the best of another candidate is not followed by a timed one

LEVEL = 1 / 255
NEAR = 0.999  # of the pixels are at most one grey level apart: DESIGN's class of kernels that trade digits for speed


@dataclass
class Tried:
    """What became of a candidate.

    Attributes:
        seconds: of a photograph, the quickest run; None where none was timed.
        error: why it is out; empty for one that may be chosen.
        file: what it ran, in the trial's folder.
        answers: d0 of each of `PHOTOGRAPHS`, (out_ch, h, w).
    """

    candidate: Candidate
    file: Path
    seconds: float | None = None
    error: str = ""
    answers: list[np.ndarray] = field(default_factory=list)


class Trial:
    """One network on one device.

    Args:
        profile: how photographs are prepared for it.
        size: (H, W).
        folder: an empty one, for files; it stays in use as long as what is opened from it.
        limit, budget: seconds for one answer, and for all.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        profile: Profile,
        size: tuple[int, int],
        device: str,
        folder: Path,
        limit: float = LIMIT,
        budget: float = BUDGET,
    ):
        self.profile, self.size, self.device, self.folder, self.limit = profile, size, device, folder, limit
        self.end = time.monotonic() + budget
        write_network(checkpoint, folder / NETWORK)

    def run(self, candidates: Sequence[Candidate], timed: bool = True) -> list[Tried]:
        """Each in turn; those whose answers nobody shares are out.

        Args:
            timed: False: they only answer, their speed is known.
        """
        found: list[Tried] = []
        for each in candidates:
            place = self.folder / each.name
            tried = Tried(each, each.file(place))
            found.append(tried)
            if found[1:] and time.monotonic() > self.end:
                tried.error = "not tried: there was no time left"
                continue
            report(f"trying {each.runtime}, once")
            try:
                place.mkdir()
                self._try(tried, min((one.seconds for one in found if one.seconds), default=np.inf), timed)
            except (U2ZooError, OSError) as error:
                text = str(error) if isinstance(error, U2ZooError) else one_line(error)
                tried.error = " ".join(text.split()).removeprefix(f"{tried.file}: ")
        _strike([one for one in found if not one.error])
        return found

    def _try(self, tried: Tried, best: float, timed: bool) -> None:
        arguments = {
            "path": str(tried.file),
            "name": tried.candidate.name,
            "network": str(self.folder / NETWORK),
            "size": list(self.size),
            "device": self.device,
        }
        with IsolatedPredictor(OPENER, arguments, limit=self.limit) as predictor:
            session = MaskSession(predictor, self.profile, size=self.size)
            pictures = [session.preparation.input(photograph(name)) for name in PHOTOGRAPHS]
            tried.answers = [session.answer(x) for x in pictures]
            first, second = predictor.usage.seconds[:2]  # the first also allocates
            if not timed:
                return
            times, end = [second], min(time.monotonic() + SHARE, self.end)
            while min(first, *times) < HOPELESS * best and len(times) < RUNS and time.monotonic() < end:
                times.append(predictor.time(pictures[-1]))
            tried.seconds = min(times)


def open_candidate(path: str, name: str, network: str, size: Sequence[int], device: str) -> Predictor:
    """The candidate's file of the network, which is written first: what is called in the other process."""
    chosen = candidate(name)
    chosen.write(read_network(Path(network)), Path(path), (size[0], size[1]))
    return chosen.open(Path(path), device)


def photograph(name: str) -> Image.Image:
    """One of `PHOTOGRAPHS`, in RGB."""
    with (files(__package__) / f"{name}.jpg").open("rb") as stream:
        return Image.open(stream).convert("RGB")


def agree(one: Iterable[np.ndarray], other: Iterable[np.ndarray]) -> bool:
    """Whether two candidates' answers are the same within a grey level; of several classes, name the same ones."""
    return all(_near(a, b) for a, b in zip(one, other, strict=True))


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    if len(a) > 1:
        return float((a.argmax(axis=0) == b.argmax(axis=0)).mean()) >= NEAR
    reach = max(1.0, float(np.ptp(b)))  # of logits
    return float((np.abs(a - b) <= LEVEL * reach).mean()) >= NEAR


def _strike(running: list[Tried]) -> None:
    """Those are right with whom most agree; of two that contradict each other Torch is, else the first."""
    for tried in running:
        if not all(np.isfinite(answer).all() for answer in tried.answers):
            tried.error = "answers what are no numbers"
    sound = [tried for tried in running if not tried.error]
    votes = {id(one): sum(agree(one.answers, other.answers) for other in sound) for one in sound}
    right = max(sound, key=lambda one: (votes[id(one)], one.candidate.name == TORCH), default=None)
    for tried in sound:
        if right and not agree(tried.answers, right.answers):
            tried.error = f"answers another mask than {right.candidate.runtime}"
