"""Any artifact against any checkpoint: the same tensor, the same photographs, and the reason where they part."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, OptionError
from u2net_zoo.preprocessing import Profile
from u2net_zoo.session import MaskSession

from .baking import Baking
from .base import Format, Predictor, describe
from .bent import Sample
from .diagnosis import Diagnosis, Explanation, compare_weights, explain
from .fed import DECADES, Fed, Remembering
from .feeding import FEEDINGS, PixelReference, TakesPixels
from .matching import Renamed
from .parity import Divergence, Reference, divergence, iou, judge
from .proof import RATIO, OutputError64, Report
from .remote import RemotePredictor, Usage, open_remote
from .sources import format_of, read_source

__all__ = ["DECADES", "PictureError", "Verdict", "Verifier"]

LEVELS = 1  # grey levels by which a pixel may be off: two truncations to 8 bits differ by one at any rounding


@dataclass(frozen=True)
class PictureError:
    """A photograph's mask against the reference's, both of 8 bits at the photograph's size.

    Attributes:
        mae: mean absolute difference, of 255. iou: at 128. off: share of pixels off by more than one grey level.
    """

    name: str
    mae: float
    iou: float
    off: float


@dataclass(frozen=True)
class Verdict:
    """What was found about one artifact.

    Attributes:
        bytes: size on disk.
        size: (H, W) at which it was run.
        takes: what it is fed, a name in `FEEDINGS`.
        precision: what it is held to: fp32, or the reduced precision that explains its differences.
        report: the same tensor.
        pictures: the same photographs.
        diagnosis: where and why it differs; None when it does not.
        usage: seconds and memory of its runtime.
        histogram: number of the mask's values by log10 of the absolute difference, in the bins of `DECADES`; empty for
            a file that takes pictures.
    """

    path: Path
    format: str
    bytes: int
    size: tuple[int, int]
    takes: str
    precision: str
    report: Report
    pictures: tuple[PictureError, ...]
    diagnosis: Diagnosis | None
    usage: Usage
    histogram: tuple[int, ...]

    @property
    def ok(self) -> bool:
        return self.report.ok

    @property
    def seconds(self) -> float:
        """Median of one photograph; the first calls, which warm the runtime up, are left out when there are more."""
        calls = self.usage.seconds
        return float(np.median(calls[-len(self.pictures) :] if self.pictures else calls))

    def mean(self, measure: str) -> float:
        """Mean of a measure of `PictureError` over the photographs."""
        return float(np.mean([getattr(picture, measure) for picture in self.pictures]))

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        report = self.report
        return {
            "path": str(self.path),
            "format": self.format,
            "ok": self.ok,
            "bytes": self.bytes,
            "size": list(self.size),
            "takes": self.takes,
            "precision": self.precision,
            "model": {
                "outputs": [{**asdict(o), "ratio": o.ratio} for o in report.outputs],
                "masks": report.masks and asdict(report.masks),
                "pixels": report.pixels and asdict(report.pixels),
                "flat": report.flat,
            },
            "pictures": [asdict(picture) for picture in self.pictures],
            "diagnosis": self.diagnosis and self.diagnosis.to_json(),
            "seconds": self.seconds,
            "load_seconds": self.usage.load,
            "memory_bytes": self.usage.memory,
        }


Shown = Callable[[int, Image.Image, Image.Image], None]


class Verifier:
    """Compares artifacts with one checkpoint; what belongs to the checkpoint is computed once.

    Args:
        profile: how the photographs are prepared.
        photographs: name -> picture; scikit-image's own when there are none.
        size: (H, W) for artifacts that take any; those that take another are refused. None: the profile's size, and
            whatever an artifact with a fixed size wants.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        profile: Profile,
        photographs: Mapping[str, Image.Image],
        size: tuple[int, int] | None = None,
    ):
        self.checkpoint, self.photographs, self.asked = checkpoint, photographs, size
        self.profile = replace(profile, resize=Remembering(profile.resize))
        self.references: dict[tuple[int, int], Reference] = {}
        self.masks: dict[tuple[int, int], list[Image.Image]] = {}

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
            if remote.baking:
                judged = _judged_pictures(fmt, remote, remote.baking, reference)
            else:
                judged = self._judged(fmt, path, remote, reference)
            pictures = self._pictures(judged.named, reference, shown)
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
        for fed, _ in tried:
            found = explain(fed.results, self.checkpoint, fed.exact, fed.sample)
            if found:
                return self._explained(fmt, path, fed, *found)
        fed, report = tried[0]
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
        try:
            weights = compare_weights(read_source(path), self.checkpoint)
        except CheckpointError as error:
            if "not a U²-Net" in str(error):
                raise ArtifactError(str(error)) from None
            weights = f"cannot be read ({error})"
        first: Divergence | None = None
        if not weights.startswith("another network"):
            first = divergence(fed.once, fed.reference, coarse)
        return Diagnosis(first, explanation, weights)

    def _pictures(self, predictor: Predictor, reference: Reference, shown: Shown | None) -> tuple[PictureError, ...]:
        session = MaskSession(predictor, self.profile, size=reference.size)
        found = []
        expected = self._masks(reference)
        for n, (name, photograph) in enumerate(self.photographs.items()):
            mask = session.mask(photograph)
            found.append(_picture_error(name, mask, expected[n]))
            if shown:
                shown(n, mask, expected[n])
        return tuple(found)

    def _masks(self, reference: Reference) -> list[Image.Image]:
        """The reference's masks, by Torch in float32."""
        if reference.size not in self.masks:
            session = MaskSession(reference.single, self.profile, size=reference.size)
            self.masks[reference.size] = [session.mask(photograph) for photograph in self.photographs.values()]
        return self.masks[reference.size]


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


def _judged_pictures(fmt: Format, remote: RemotePredictor, baking: Baking, reference: Reference) -> _Judged:
    """A file with a profile in its graph: its grey levels, one of which rounding to 8 bits explains."""
    report, precision = judge(remote, reference), "fp32"
    if not report.ok and baking.precision in fmt.bounds:
        report, precision = judge(remote, reference, fmt.bounds[baking.precision]), baking.precision
    if report.pixels:
        levels = OutputError64("mask", report.pixels.largest, report.pixels.mae, 1 / 255 / RATIO)
        report = replace(report, outputs=(levels,))
    return _Judged("pixels; the profile is in its graph", remote, (), report, precision)


def _picture_error(name: str, mask: Image.Image, expected: Image.Image) -> PictureError:
    a, b = (np.asarray(picture, np.int16) for picture in (mask, expected))
    if mask.mode == "P":  # classes: a pixel is right or wrong
        wrong = float((a != b).mean())
        return PictureError(name, 255 * wrong, float(np.mean([iou(a == n, b == n) for n in np.unique(b)])), wrong)
    apart = np.abs(a - b)
    return PictureError(name, float(apart.mean()), iou(a > 127, b > 127), float((apart > LEVELS).mean()))
