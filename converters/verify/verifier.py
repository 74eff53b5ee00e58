"""Any artifact against any checkpoint: the same tensor, the same photographs, and the reason where they part."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, NotANetworkError, OptionError
from u2net_zoo.preprocessing import Profile
from u2net_zoo.session import MaskSession

from ..embedded import EmbeddedPreprocessing
from ..format import Format
from ..isolated import OpenPredictor, open_isolated
from ..loading import format_of, read_source
from ..options import describe
from ..parity.compare import divergence, judge
from ..parity.outputs import Renamed, others
from ..parity.reference import Reference
from ..parity_report import Report
from ..predictor import Predictor
from .diagnosis import (
    Diagnosis,
    Explanation,
    blank,
    quantised,
)
from .image_models import ImageModelResult
from .input_conventions import Run, runs
from .photograph_cache import PhotographCache
from .quantised_files import held_to
from .result import DECADES, PictureError, VerificationResult, picture_error
from .search import Search
from .weights_found import Weights, WeightsFound, compare_weights

__all__ = ["DECADES", "PictureError", "VerificationResult", "Verifier"]

Opener = Callable[[Path], OpenPredictor]
Shown = Callable[[int, Image.Image, Image.Image], None]


class Verifier:
    """Compares artifacts with one checkpoint; what belongs to the checkpoint is computed once.

    Args:
        profile: how the photographs are prepared.
        photographs: name -> picture, asked for one at a time; without any, artifacts are judged by tensors alone.
        known: whether `profile` is known to be the weights' own; otherwise a file with one in its graph chooses.
        size: (H, W) for artifacts that take any; those that take another are refused. None: the profile's size, and
            whatever an artifact with a fixed size wants.
        opened: how an artifact is opened; it raises ArtifactError, and so does what it opens. By default in a process
            of its own: runtimes cannot disturb each other, and their seconds and memory are their own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        profile: Profile,
        photographs: Mapping[str, Image.Image],
        size: tuple[int, int] | None = None,
        known: bool = False,
        opened: Opener = functools.partial(open_isolated, exact=True),  # noqa: B008 - a function
    ):
        self.checkpoint, self.profile, self.asked, self.known = checkpoint, profile, size, known
        self.opened = opened
        self.album = PhotographCache(photographs)
        self.references: dict[tuple[int, int], Reference] = {}

    def verify(self, path: Path, shown: Shown | None = None) -> VerificationResult:
        """What is found about the artifact `path`.

        Args:
            shown: called with each photograph's number, the artifact's mask and the reference's.

        Raises:
            ArtifactError: it cannot be run, or is no U²-Net. OptionError: it takes another size than was asked for.
        """
        fmt = format_of(path)
        with self.opened(path) as remote:
            reference = self._reference(remote, path)
            size = sum(file.stat().st_size for file in fmt.files(path))
            profile = self._own_profile(remote.embedded) if remote.embedded else self.profile
            if remote.embedded:
                judged = self._judged_pictures(fmt, path, remote, reference, profile)
            else:
                judged = self._judged(fmt, path, remote, reference)
            pictures = self._pictures(judged.named, reference, profile, shown)
            found = (judged.takes, judged.precision, judged.report, pictures, judged.diagnosis)
            rest = (remote.usage, judged.histogram, judged.others)
            return VerificationResult(path, fmt.name, size, reference.size, *found, *rest)

    def _reference(self, remote: OpenPredictor, path: Path) -> Reference:
        side = self.profile.size
        size = remote.size or self.asked or remote.default or (side, side)
        if self.asked and size != self.asked:
            raise OptionError(f"{path}: takes {describe(size)}, not --size {describe(self.asked)}; leave --size out")
        if size not in self.references:
            self.references[size] = Reference(self.checkpoint, size)
        return self.references[size]

    def _judged(self, fmt: Format, path: Path, remote: OpenPredictor, reference: Reference) -> "_Judged":
        """The report under the file's input convention and at its precision, and a diagnosis where it fails."""
        try:
            tried = []
            for fed in runs(remote, reference, self.profile):
                report = judge(fed.named(fed.names), fed.reference)
                if report.ok:
                    return _judgement(fed, report, fed.names)
                tried.append((fed, report))
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
        tried.sort(key=lambda pair: pair[0].distance)
        fed, report = tried[0]
        near = min((one for one, _ in tried), key=lambda one: one.mean)
        held = self._read(path)
        said = remote.precision or (held_to(held) if held else "")
        if bound := fmt.bound(said):
            reduced = judge(near.named(near.names), near.reference, bound)
            if reduced.ok:
                return _judgement(near, reduced, near.names, precision=said)
        weights = self._weights(path)
        if weights.are is Weights.OTHER_NETWORK:  # no rule of a network explains another one
            return _judgement(fed, report, fed.names, diagnosis=Diagnosis(None, None, weights))
        search = Search([one for one, _ in tried], self.checkpoint, work=math.inf)
        if found := search.found:
            return self._explained(fmt, path, found.run, found.explanation, found.names)
        if "fp16" in fmt.bounds and held and self._holds_float16(held):
            half = judge(fed.named(fed.names), fed.reference, fmt.bounds["fp16"])
            if half.ok:
                return _judgement(fed, half, fed.names, precision="fp16")
        if held and (known := quantised(held, near.mean)):
            return self._explained(fmt, path, near, known, near.names)
        return _judgement(fed, report, fed.names, diagnosis=self._diagnosis(path, fed, blank(fed.evidence)))

    def _holds_float16(self, held: Checkpoint) -> bool:
        """Whether the file's weights are the checkpoint's, each rounded to float16."""
        found, expected = held.fold(), self.checkpoint.fold()
        return found.state.keys() == expected.state.keys() and all(
            np.array_equal(found.state[key], value.astype(np.float16).astype(value.dtype))
            for key, value in expected.state.items()
            if value.ndim == 4
        )

    def _read(self, path: Path) -> Checkpoint | None:
        """The file's own weights; None where they cannot be read."""
        try:
            return read_source(path)
        except CheckpointError:
            return None

    def _explained(
        self, fmt: Format, path: Path, fed: Run, explanation: Explanation, names: dict[str, str]
    ) -> "_Judged":
        """A precision is held to the format's bound for it; everything else is a fault."""
        precision = explanation.precision or "fp32"
        report = judge(fed.named(names), fed.reference, fmt.bounds.get(precision))
        if report.ok:
            return _judgement(fed, report, names, precision=precision)
        diagnosis = self._diagnosis(path, fed, explanation)
        return _judgement(fed, report, names, precision=precision, diagnosis=diagnosis)

    def _diagnosis(self, path: Path, fed: Run, explanation: Explanation | None) -> Diagnosis:
        coarse = explanation is not None and explanation.precision is not None
        return Diagnosis(divergence(fed.once, fed.reference, coarse), explanation, self._weights(path))

    def _weights(self, path: Path) -> WeightsFound:
        """What the file's weights are beside the checkpoint's."""
        try:
            return compare_weights(read_source(path), self.checkpoint)
        except NotANetworkError as error:
            raise ArtifactError(str(error)) from None
        except CheckpointError as error:
            return WeightsFound(Weights.UNREADABLE, f" ({error})")

    def _own_profile(self, embedded: EmbeddedPreprocessing) -> Profile:
        """The profile that belongs to the weights; the one in the graph where nobody knows, or neither is sure."""
        classes = len(self.profile.palette) or 1
        return self.profile if self.known and classes == embedded.classes else embedded.profile

    def _judged_pictures(
        self, fmt: Format, path: Path, remote: OpenPredictor, reference: Reference, profile: Profile
    ) -> "_Judged":
        """A file with a profile in its graph: its grey levels, one of which rounding to 8 bits explains."""
        found = ImageModelResult.of(fmt, remote, reference, profile)
        diagnosis = None if found.report.ok else self._of_pictures(path, found)
        takes = "pixels; the profile is in its graph"
        return _Judged(takes, remote, found.histogram, found.report, found.precision, diagnosis)

    def _of_pictures(self, path: Path, found: ImageModelResult) -> Diagnosis:
        weights = self._weights(path)
        if weights.are is Weights.OTHER_NETWORK:
            return Diagnosis(None, None, weights)
        return Diagnosis(found.first, found.explanation, weights)

    def _pictures(
        self, predictor: Predictor, reference: Reference, profile: Profile, shown: Shown | None
    ) -> tuple[PictureError, ...]:
        arch = self.checkpoint.arch
        if arch.in_ch != profile.channels or arch.out_ch != (len(profile.palette) or 1):
            return ()
        session = MaskSession(predictor, profile, size=reference.size)
        first = predictor.outputs[0]  # of a file without d0 a side, which is compared with that side
        single = reference.single if first == "mask" else Renamed(reference.single, {first: first}, arch)
        right = MaskSession(single, profile, size=reference.size)
        for name in self.album.names:  # Torch first and then the artifact: side by side they would disturb its times
            self.album.answer(name, right)
        found = []
        for n, name in enumerate(self.album.names):
            mask, expected = self.album.mask(name, session), self.album.expected(name, right)
            found.append(picture_error(name, mask, expected))
            if shown:
                shown(n, mask, expected)
        return tuple(found)


@dataclass(frozen=True)
class _Judged:
    """A file's input convention, and its outputs under it; `named` answers under the network's names."""

    takes: str
    named: Predictor
    histogram: tuple[int, ...]
    report: Report
    precision: str = "fp32"
    diagnosis: Diagnosis | None = None
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def _judgement(fed: Run, report: Report, names: dict[str, str], **found: Any) -> _Judged:
    named = Renamed(fed.raw, names, fed.reference.checkpoint.arch)
    takes = f"{fed.convention.name}, as {fed.raw.takes}" if fed.raw.takes else fed.convention.name
    return _Judged(takes, named, fed.histogram(), report, others=others(fed.evidence[0].results, names), **found)
