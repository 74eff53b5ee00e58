"""Is the artifact the network? Compares a predictor with the float64 Torch reference; returns a report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES

from ..embedded import EmbeddedPreprocessing
from ..mask_errors import GreyError, MaskBound, MaskError, MaskErrors, PixelError, SizeError, iou
from ..parity_report import MaskReport, OutputError64, PixelReport, Report, TensorReport
from ..predictor import Predictor
from .float64 import Float64Network
from .reference import Reference, in_batches, picture, picture_of

__all__ = [
    "Divergence",
    "MaskError",
    "OutputError64",
    "PixelError",
    "Report",
    "SizeError",
    "compare",
    "divergence",
    "grey_error",
    "iou",
    "judge",
    "pixel_error",
    "size_error",
]


@dataclass(frozen=True)
class Divergence:
    """The first unit whose activation differs.

    Attributes:
        path: of the unit, `stage1.rebnconv5d`.
        shape, expected: (C, h, w) in the artifact and in Torch.
        error: relative (L2); None when the shapes differ. `allowed` is what rounding explains.
    """

    path: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]
    error: float | None
    allowed: float

    def text(self) -> str:
        """`stage1.rebnconv5d: (16, 20, 20), in Torch (16, 20, 20); relative error 3.1e-02, explained 1.0e-04`."""
        text = f"{self.path}: {self.shape}, in Torch {self.expected}"
        if self.error is None:
            return text
        return f"{text}; relative error {self.error:.1e}, explained by rounding {self.allowed:.1e}"


def compare(
    predictor: Predictor,
    reference: Reference,
    bound: MaskBound | None = None,
    expected: Sequence[str] | None = None,
) -> Report:
    """`judge`, and where it fails the first unit that differs."""
    report = judge(predictor, reference, bound, expected)
    if report.ok:
        return report
    return replace(report, diverges_at=first_divergence(predictor, reference, coarse=bound is not None))


def judge(
    predictor: Predictor,
    reference: Reference,
    bound: MaskBound | None = None,
    expected: Sequence[str] | None = None,
) -> Report:
    """The parity report of an artifact: against the noise floor, or at a reduced precision against `bound`.

    Args:
        expected: the outputs that it must have, in order; None: whichever it has.

    Raises:
        ArtifactError: its outputs have other names or shapes.
    """
    if predictor.embedded:
        found = pixel_error(predictor, predictor.embedded, reference, bound)
        return PixelReport(flat=reference.flat, pixels=found)
    results = in_batches(predictor, reference.inputs)
    names = tuple(expected or (name for name in predictor.outputs if name in reference.exact))
    if tuple(predictor.outputs) != names:
        raise ArtifactError(f"outputs {list(predictor.outputs)}; expected: {list(names) or list(reference.exact)}")
    outputs = tuple(_output_error(name, results[name], reference) for name in names)
    if bound is None:
        return TensorReport(flat=reference.flat, outputs=outputs)
    masks = _mask_error(predictor, reference, bound, outputs)
    return MaskReport(flat=reference.flat, outputs=outputs, masks=masks)


def pixel_error(
    predictor: Predictor, embedded: EmbeddedPreprocessing, reference: Reference, bound: MaskBound | None = None
) -> PixelError:
    """Of the reference's photographs as 8-bit pictures."""
    got = [picture(predictor, pixels) for pixels, _ in reference.pictured(embedded)]
    pairs = list(zip(got, (wanted for _, wanted in reference.pictured(embedded)), strict=True))
    if embedded.classes > 1:
        differ = float(np.mean([a != b for a, b in pairs]))
        same = [iou(a == n, b == n) for a, b in pairs for n in np.unique(b)]
        return PixelError(float(np.mean(same)), min(same), differ, 1 - differ, float(differ > 0), bound)
    errors = MaskErrors.of([(a[None] / 255, b[None] / 255) for a, b in pairs])
    off = np.stack([np.abs(a.astype(np.int16) - b) for a, b in pairs])
    near, largest = float((off <= 1).mean()), float(off.max()) / 255
    return PixelError(errors.iou, errors.worst, errors.mae, near, largest, bound)


def grey_error(predictor: Predictor, reference: Reference) -> GreyError:
    """Of kernels that trade digits for speed, on the reference's photographs; of all outputs on its inputs."""
    name, results = predictor.outputs[0], in_batches(predictor, reference.inputs)
    pairs = list(zip(in_batches(predictor, reference.pictures)[name], reference.maps(name), strict=True))
    apart = [np.abs(results[name] - reference.exact[name]).max() / _range(reference, name) for name in results]
    return GreyError.of(pairs, float(np.max(apart)))  # which keeps a NaN


def _range(reference: Reference, name: str) -> float:
    return max(float(np.ptp(reference.exact[name])), 1.0)


def size_error(predictor: Predictor, reference: Reference, size: tuple[int, int], bound: MaskBound) -> SizeError:
    """Of the first photograph at another size."""
    image, embedded = reference.images[0], predictor.embedded
    if embedded:
        pixels = embedded.profile.pixels(image, size)
        a, b = picture(predictor, pixels), picture_of(reference.single, embedded, pixels)
        if embedded.classes > 1:  # a channel per class, as d0 has it
            a, b = (np.eye(embedded.classes, dtype=np.float32)[labels].transpose(2, 0, 1) for labels in (a, b))
        else:
            a, b = a[None] / 255, b[None] / 255
    else:
        x = PROFILES["paper"].tensor(image, size)
        a, b = predictor(x)["mask"][0], reference.single(x)["mask"][0]
    errors = MaskErrors.of([(a, b)])
    return SizeError(errors.iou, errors.worst, errors.mae, bound, size)


def _output_error(name: str, result: np.ndarray, reference: Reference) -> OutputError64:
    exact = reference.exact[name]
    if result.shape != exact.shape:
        raise ArtifactError(f"output {name}: shape {result.shape}, expected {exact.shape}")
    error = np.abs(result - exact)
    error = np.where(np.isfinite(error), error, np.inf)
    return OutputError64(name, float(error.max()), float(error.mean()), reference.noise[name])


def _mask_error(
    predictor: Predictor, reference: Reference, bound: MaskBound, outputs: Sequence[OutputError64]
) -> MaskError:
    name = outputs[0].name  # `mask`, of a file that answers it
    pairs = list(zip(in_batches(predictor, reference.pictures)[name], reference.maps(name), strict=True))
    errors = MaskErrors.of(pairs)
    others = [o.mean_abs / _range(reference, o.name) for o in outputs]
    return MaskError(errors.iou, errors.worst, max(errors.mae, *others), bound)


def first_divergence(predictor: Predictor, reference: Reference, coarse: bool = False) -> str | None:
    """Path of the first unit whose activation differs; None when none can be seen. See `divergence`."""
    found = divergence(predictor, reference, coarse)
    return found.path if found else None


def divergence(predictor: Predictor, reference: Reference, coarse: bool = False) -> Divergence | None:
    """The first unit whose activation differs by more than rounding explains; None when none can be seen.

    Rounding: a relative error (L2) of ten times Torch float32's own against float64, at least 1e-4, or 5e-2 at a
    reduced precision. A file with a profile in its graph gets a picture, Torch what the profile makes of it.
    """
    given = x = reference.inputs[:1]
    if predictor.embedded:
        pixels = reference.pictured(predictor.embedded)[0][0]
        given, x = pixels.transpose(2, 0, 1)[None], predictor.embedded.profile.normalised(pixels)
    arch = reference.checkpoint.arch
    exact = dict(Float64Network(reference.checkpoint).taps(x, arch))
    single = dict(reference.single.taps(x, arch))
    floor = 5e-2 if coarse else 1e-4
    whole = np.repeat(given, predictor.batch or 1, axis=0)
    for path, value in predictor.taps(whole, arch):
        allowed = max(floor, 10 * relative(single[path], exact[path]))
        fits = value.shape[1:] == exact[path].shape[1:]
        error = relative(value[:1], exact[path]) if fits else None
        if error is None or not error <= allowed:
            return Divergence(path, value.shape[1:], exact[path].shape[1:], error, allowed)
    return None


def relative(value: np.ndarray, exact: np.ndarray) -> float:
    """L2 norm of the difference over that of `exact`."""
    return float(np.linalg.norm(value - exact)) / max(float(np.linalg.norm(exact)), 1e-12)
