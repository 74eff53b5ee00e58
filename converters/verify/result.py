"""What was found about one artifact: its report, its photographs, its runtime."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..isolated import Usage
from ..parity.compare import iou
from ..parity_report import Report
from .diagnosis import Diagnosis

__all__ = ["DECADES", "PictureError", "VerificationResult", "histogram", "picture_error"]

DECADES = np.arange(-9.0, 0.25, 0.25)  # of the error's histogram: edges of the bins, log10

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
class VerificationResult:
    """What was found about one artifact.

    Attributes:
        bytes: size on disk.
        size: (H, W) at which it was run.
        takes: its input convention, a name in `INPUT_CONVENTIONS`, and the integers in which it takes it, if it does.
        precision: what it is held to: fp32, or the reduced precision that explains its differences.
        report: the same tensor.
        pictures: the same photographs.
        diagnosis: where and why it differs; None when it does not.
        usage: seconds and memory of its runtime.
        histogram: number of the mask's values by log10 of the absolute difference, in the bins of `DECADES`; of a file
            that takes pictures its grey levels', of 1, or 1 for each pixel of a wrong class.
        others: name -> shape of what the file answers beside the network's maps, which nothing is compared with.
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
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.report.ok

    @property
    def seconds(self) -> float:
        """Median of one photograph; the first calls, which warm the runtime up, are left out when there are more."""
        calls = self.usage.seconds
        return float(np.median(calls[-len(self.pictures) :] if self.pictures else calls))

    def mean(self, measure: str) -> float:
        """Mean of a measure of `PictureError` over the photographs; NaN where the network takes none."""
        found = [getattr(picture, measure) for picture in self.pictures]
        return float(np.mean(found)) if found else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "path": str(self.path),
            "format": self.format,
            "ok": self.ok,
            "bytes": self.bytes,
            "size": list(self.size),
            "takes": self.takes,
            "precision": self.precision,
            "others": {name: list(shape) for name, shape in self.others.items()},
            "model": self.report.to_json(),
            "pictures": [asdict(picture) for picture in self.pictures],
            "diagnosis": self.diagnosis and self.diagnosis.to_json(),
            "seconds": self.seconds,
            "load_seconds": self.usage.load,
            "memory_bytes": self.usage.memory,
        }


def picture_error(name: str, mask: Image.Image, expected: Image.Image) -> PictureError:
    a, b = (np.asarray(picture, np.int16) for picture in (mask, expected))
    if mask.mode == "P":  # classes: a pixel is right or wrong
        wrong = float((a != b).mean())
        return PictureError(name, 255 * wrong, float(np.mean([iou(a == n, b == n) for n in np.unique(b)])), wrong)
    apart = np.abs(a - b)
    return PictureError(name, float(apart.mean()), iou(a > 127, b > 127), float((apart > LEVELS).mean()))


def histogram(result: np.ndarray, exact: np.ndarray | np.floating) -> tuple[int, ...]:
    """How many values lie in each of the bins of `DECADES`, by log10 of the absolute error."""
    error = np.nan_to_num(np.abs(result - exact), nan=10.0, posinf=10.0)
    places = np.log10(np.maximum(error, 10 ** DECADES[0]))
    return tuple(int(n) for n in np.histogram(np.clip(places, DECADES[0], DECADES[-1]), DECADES)[0])
