"""Any artifact against any checkpoint: the same tensor, the same photographs, and the reason where they part."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, OptionError
from u2net_zoo.preprocessing import Profile
from u2net_zoo.session import MaskSession

from .album import Album
from .baking import Baking
from .base import Format, Predictor, describe
from .bent import Sample
from .diagnosis import OTHER, Diagnosis, Explanation, compare_weights, explain
from .fed import DECADES, Fed
from .feeding import FEEDINGS, PixelReference, TakesPixels
from .matching import Renamed
from .parity import Reference, divergence, judge
from .pictured import Pictured
from .proof import Report
from .remote import RemotePredictor, open_remote
from .sources import format_of, read_source
from .verdict import PictureError, Verdict, picture_error

__all__ = ["DECADES", "PictureError", "Verdict", "Verifier"]

Shown = Callable[[int, Image.Image, Image.Image], None]


class Verifier:
    """Compares artifacts with one checkpoint; what belongs to the checkpoint is computed once.

    Args:
        profile: how the photographs are prepared.
        photographs: name -> picture, asked for one at a time; without any, artifacts are judged by tensors alone.
        known: whether `profile` is known to be the weights' own; otherwise a file with one in its graph chooses.
        size: (H, W) for artifacts that take any; those that take another are refused. None: the profile's size, and
            whatever an artifact with a fixed size wants.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        profile: Profile,
        photographs: Mapping[str, Image.Image],
        size: tuple[int, int] | None = None,
        known: bool = False,
    ):
        self.checkpoint, self.profile, self.asked, self.known = checkpoint, profile, size, known
        self.album = Album(photographs)
        self.references: dict[tuple[int, int], Reference] = {}

    def verify(self, path: Path, shown: Shown | None = None) -> Verdict:
        """The verdict on the artifact `path`.

        Args:
            shown: called with each photograph's number, the artifact's mask and the reference's.

        Raises:
            ArtifactError: it cannot be run, or is no U²-Net. OptionError: it takes another size than was asked for.
        """
        fmt = format_of(path)
        with open_remote(path) as remote:
            reference = self._reference(remote, path)
            size = sum(file.stat().st_size for file in fmt.files(path))
            profile = self._own_profile(remote.baking) if remote.baking else self.profile
            if remote.baking:
                judged = self._judged_pictures(fmt, path, remote, reference, profile)
            else:
                judged = self._judged(fmt, path, remote, reference)
            pictures = self._pictures(judged.named, reference, profile, shown)
            found = (judged.takes, judged.precision, judged.report, pictures, judged.diagnosis)
            return Verdict(path, fmt.name, size, reference.size, *found, remote.usage, judged.histogram)

    def _reference(self, remote: RemotePredictor, path: Path) -> Reference:
        side = self.profile.size
        size = remote.size or self.asked or remote.default or (side, side)
        if self.asked and size != self.asked:
            raise OptionError(f"{path}: takes {describe(size)}, not --size {describe(self.asked)}; leave --size out")
        if size not in self.references:
            self.references[size] = Reference(self.checkpoint, size)
        return self.references[size]

    def _judged(self, fmt: Format, path: Path, remote: RemotePredictor, reference: Reference) -> "_Judged":
        """The report under the feeding and at the precision that the file has, and a diagnosis where it fails."""
        try:
            feedings = self._feedings(remote, reference)
            tried = []
            for fed in feedings:
                report = judge(fed.named(fed.names), fed.reference)
                if report.ok:
                    return _judged_fed(fed, report, fed.names)
                tried.append((fed, report))
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
        fed, report = tried[0]
        said = remote.precision or ""
        if said in fmt.bounds:
            reduced = judge(fed.named(fed.names), fed.reference, fmt.bounds[said])
            if reduced.ok:
                return _judged_fed(fed, reduced, fed.names, precision=said)
        weights = self._weights(path)
        if weights.startswith(OTHER):  # no rule of a network explains another one
            return _judged_fed(fed, report, fed.names, diagnosis=Diagnosis(None, None, weights))
        for one, _ in tried:
            found = explain(one.results, self.checkpoint, one.exact, one.sample)
            if found:
                return self._explained(fmt, path, one, *found)
        if "fp16" in fmt.bounds and self._holds_float16(path):
            half = judge(fed.named(fed.names), fed.reference, fmt.bounds["fp16"])
            if half.ok:
                return _judged_fed(fed, half, fed.names, precision="fp16")
        return _judged_fed(fed, report, fed.names, diagnosis=self._diagnosis(path, fed, None))

    def _holds_float16(self, path: Path) -> bool:
        """Whether the file's weights are the checkpoint's, each rounded to float16."""
        try:
            found = read_source(path).fold()
        except CheckpointError:
            return False
        expected = self.checkpoint.fold()
        return found.state.keys() == expected.state.keys() and all(
            np.array_equal(found.state[key], value.astype(np.float16).astype(value.dtype))
            for key, value in expected.state.items()
            if value.ndim == 4
        )

    def _feedings(self, remote: RemotePredictor, reference: Reference) -> Iterator[Fed]:
        """The file under each way to feed it, the normalised tensor first."""
        yield Fed(remote, reference, FEEDINGS[0], Sample(reference.inputs[:1], profile=self.profile), 0)
        if self.checkpoint.arch.in_ch != 3:
            return
        other = PixelReference(reference, self.profile)
        dim = int(np.argmin(other.peaks[: len(other.inputs)]))
        for feeding in FEEDINGS[1:]:
            wrapped = TakesPixels(remote, self.profile, feeding.scale or 1.0, other.samples)
            yield Fed(wrapped, other, feeding, other.samples[dim], dim)

    def _explained(
        self, fmt: Format, path: Path, fed: Fed, explanation: Explanation, names: dict[str, str]
    ) -> "_Judged":
        """A precision is held to the format's bound for it; everything else is a fault."""
        precision = explanation.precision or "fp32"
        report = judge(fed.named(names), fed.reference, fmt.bounds.get(precision))
        if report.ok:
            return _judged_fed(fed, report, names, precision=precision)
        diagnosis = self._diagnosis(path, fed, explanation)
        return _judged_fed(fed, report, names, precision=precision, diagnosis=diagnosis)

    def _diagnosis(self, path: Path, fed: Fed, explanation: Explanation | None) -> Diagnosis:
        coarse = explanation is not None and explanation.precision is not None
        return Diagnosis(divergence(fed.once, fed.reference, coarse), explanation, self._weights(path))

    def _weights(self, path: Path) -> str:
        """What the file's weights are beside the checkpoint's."""
        try:
            return compare_weights(read_source(path), self.checkpoint)
        except CheckpointError as error:
            if "not a U²-Net" in str(error):
                raise ArtifactError(str(error)) from None
            return f"cannot be read ({error})"

    def _own_profile(self, baking: Baking) -> Profile:
        """The profile that belongs to the weights; the one in the graph where nobody knows, or both cannot be told."""
        classes = len(self.profile.palette) or 1
        return self.profile if self.known and classes == baking.classes else baking.profile

    def _judged_pictures(
        self, fmt: Format, path: Path, remote: RemotePredictor, reference: Reference, profile: Profile
    ) -> "_Judged":
        """A file with a profile in its graph: its grey levels, one of which rounding to 8 bits explains."""
        found = Pictured.of(fmt, remote, reference, profile)
        diagnosis = found.differs and replace(found.differs, weights=self._weights(path))
        if diagnosis and diagnosis.weights.startswith(OTHER):
            diagnosis = Diagnosis(None, None, diagnosis.weights)
        takes = "pixels; the profile is in its graph"
        return _Judged(takes, remote, found.histogram, found.report, found.precision, diagnosis)

    def _pictures(
        self, predictor: Predictor, reference: Reference, profile: Profile, shown: Shown | None
    ) -> tuple[PictureError, ...]:
        arch = self.checkpoint.arch
        if arch.in_ch != 3 or arch.out_ch != (len(profile.palette) or 1):
            return ()
        session = MaskSession(predictor, profile, size=reference.size)
        right = MaskSession(reference.single, profile, size=reference.size)
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
    """How a file was fed, and what came of it; `named` answers under the network's names."""

    takes: str
    named: Predictor
    histogram: tuple[int, ...]
    report: Report
    precision: str = "fp32"
    diagnosis: Diagnosis | None = None


def _judged_fed(fed: Fed, report: Report, names: dict[str, str], **found: Any) -> _Judged:
    named = Renamed(fed.raw, names, fed.reference.checkpoint.arch)
    return _Judged(fed.feeding.name, named, fed.histogram(), report, **found)
