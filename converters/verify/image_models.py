"""Files with a profile in their graph: whether their grey levels are right; where not, since where and why."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES, Profile

from ..embedded import EmbeddedPreprocessing
from ..format import Format
from ..parity.compare import Divergence, divergence, pixel_error
from ..parity.reference import Reference, picture, picture_of
from ..parity_report import PixelReport
from ..predictor import Predictor
from .diagnosis import CERTAIN, EXPLAINS, Explanation
from .faulty_network import Sample
from .input_conventions import CachedPredictor, coloured, peak_of
from .known_faults import KNOWN_FAULTS
from .result import histogram

__all__ = ["ImageModelResult"]


@dataclass(frozen=True)
class ImageModelResult:
    """What was found about a file that takes pictures.

    Attributes:
        precision: whose bound it was held to.
        histogram: of the grey levels' absolute error, of 1; see `result.histogram`.
        first, explanation: of a file that is not right, the first unit that differs and the reason, if they are found.
    """

    report: PixelReport
    precision: str
    histogram: tuple[int, ...]
    first: Divergence | None = None
    explanation: Explanation | None = None

    @classmethod
    def of(cls, fmt: Format, predictor: Predictor, reference: Reference, profile: Profile) -> "ImageModelResult":
        """Judges `predictor`, whose `embedded` says what is in its graph.

        Args:
            profile: what should be in it; its own `stretch` is the file's to choose.

        Raises:
            ArtifactError: there is no profile in its graph.
        """
        if predictor.embedded is None:
            raise ArtifactError("has no profile in its graph")
        embedded, once = predictor.embedded, CachedPredictor(predictor)
        wanted = replace(embedded, profile=replace(profile, stretch=embedded.profile.stretch))
        errors, precision = pixel_error(once, wanted, reference), "fp32"
        if not errors.ok and embedded.precision in fmt.bounds:
            precision = embedded.precision
            errors = pixel_error(once, wanted, reference, fmt.bounds[precision])
        report = PixelReport(flat=reference.flat, pixels=errors)
        off = [_off(picture(once, pixels), right, wanted).ravel() for pixels, right in reference.pictured(wanted)]
        counts = histogram(np.concatenate(off), np.float32(0))
        if report.ok:
            return cls(report, precision, counts)
        first = divergence(predictor, reference, coarse=precision != "fp32")
        return cls(report, precision, counts, first, _explanation(once, embedded, wanted, reference))


def _explanation(
    once: Predictor, embedded: EmbeddedPreprocessing, wanted: EmbeddedPreprocessing, reference: Reference
) -> Explanation | None:
    """The fault that brings the file's picture and the right one together: another profile, or a known fault."""
    shown = [n for n, image in enumerate(reference.images) if coloured(image)]
    number = min(shown or [0], key=lambda n: reference.pictured(wanted)[n][0].max())  # /255 and /max are then not alike
    pixels, right = reference.pictured(wanted)[number]
    got = picture(once, pixels)
    before = _apart(got, right, wanted)
    best: Explanation | None = None
    for name, differs, answer in _candidates(embedded, wanted, reference, pixels):
        left = _apart(got, answer, wanted)
        if left < min(EXPLAINS * before, best.left if best else np.inf):
            best = Explanation(name, differs, left)
            if left < CERTAIN * before:
                break
    return best


def _apart(a: np.ndarray, b: np.ndarray, embedded: EmbeddedPreprocessing) -> float:
    """Mean absolute difference of grey levels, of 1; of classes the share of pixels."""
    return float(_off(a, b, embedded).mean())


def _off(a: np.ndarray, b: np.ndarray, embedded: EmbeddedPreprocessing) -> np.ndarray:
    """Absolute difference of each pixel's grey level, of 1; of classes 1 where they differ."""
    return (a != b).astype(np.float32) if embedded.classes > 1 else np.abs(a.astype(np.float32) - b) / 255


def _candidates(
    embedded: EmbeddedPreprocessing, wanted: EmbeddedPreprocessing, reference: Reference, pixels: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """(name, the part that differs, the picture (H, W) that a file with this fault answers)."""
    single, profile = reference.single, wanted.profile
    for other in (embedded.profile, *PROFILES.values()):
        if other.name != profile.name and (len(other.palette) or 1) == wanted.classes:
            fault = replace(wanted, profile=replace(other, stretch=profile.stretch))
            yield f"{other.name} instead of {profile.name}", "the profile", picture_of(single, fault, pixels)
    unlike = replace(wanted, profile=replace(profile, stretch=not profile.stretch))
    ending = "min-max left out" if profile.stretch else "min-max normalised"
    yield ending, "the output", picture_of(single, unlike, pixels)
    sample = Sample(profile.normalised(pixels), peak_of(pixels, profile), profile)
    for suspect in KNOWN_FAULTS:
        if suspect.exact:
            d0 = suspect.rules.run(reference.checkpoint, sample)["mask"][0]
            yield suspect.name, suspect.differs, wanted.finished(d0)
