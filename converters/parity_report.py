"""What a comparison found, and whether that is close enough; see `parity` for how it is measured."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from .mask_errors import NEAR, GreyError, MaskError, PixelError, SizeError
from .options import describe

__all__ = ["RATIO", "MaskReport", "OutputDifference", "OutputError64", "PixelReport", "Report", "TensorReport"]


RATIO = 3.0  # an artifact may stray three times as far from float64 as Torch's own float32 does …
SLACK = 1e-6  # … plus this


@dataclass(frozen=True)
class OutputDifference:
    """One output against the reference: largest and mean absolute difference."""

    name: str
    max_abs: float
    mean_abs: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True)
class OutputError64(OutputDifference):
    """The same against float64; `noise`: the largest difference of Torch's own float32."""

    noise: float

    @property
    def ratio(self) -> float:
        return self.max_abs / max(self.noise, 1e-12)

    @property
    def allowed(self) -> float:
        return RATIO * self.noise + SLACK

    @property
    def ok(self) -> bool:
        return self.max_abs <= self.allowed

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"ratio": self.ratio}


@dataclass(frozen=True, kw_only=True)
class Report(ABC):
    """What `compare` found; there is one kind for each way in which artifacts are judged.

    Attributes:
        flat: the reference itself hardly varies, so agreement proves little.
        diverges_at: when not ok, path of the first unit that differs, where the runtime lets one look.
        sizes: masks of a photograph at the further sizes of a flexible artifact.
        fast: by kernels that trade digits for speed, where the runtime has such; all else is then by the plain ones.
        plain: the fast ones stray too far, so the file says that the plain ones run it.
    """

    kind: ClassVar[str]
    flat: bool
    diverges_at: str | None = None
    sizes: tuple[SizeError, ...] = ()
    fast: GreyError | None = None
    plain: bool = False

    @property
    def ok(self) -> bool:
        return (
            self._near() and all(size.ok for size in self.sizes) and (self.plain or self.fast is None or self.fast.ok)
        )

    @property
    @abstractmethod
    def share(self) -> float:
        """How much of what is allowed was used; over 1 it is beyond the bound."""

    @property
    @abstractmethod
    def errors(self) -> Sequence[OutputDifference]:
        """Of each output: pictures have no float32 noise beside theirs."""

    @property
    def bound(self) -> float | None:
        """What the first output's largest error may be; None where masks decide."""
        return None

    def summary(self) -> str:
        """`max|Δ| 2.1e-06 = 0.8x noise`, and the masks where they decide."""
        bad = next((size for size in self.sizes if not size.ok), None)
        text = f"{self._figures()}; at {describe(bad.size)} {bad.summary(bad.bound)}" if bad else self._figures()
        kernels = "run by plain kernels, as the fast ones stray" if self.plain else "fast kernels"
        return f"{text}; {kernels}: {self.fast}" if self.fast else text

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "kind": self.kind,
            "ok": self.ok,
            "flat": self.flat,
            "outputs": [error.to_json() for error in self.errors],
            "masks": None,
            "pixels": None,
            "sizes": [asdict(size) for size in self.sizes],
            "fast": self.fast and asdict(self.fast),
            "plain": self.plain,
        }

    @abstractmethod
    def _near(self) -> bool: ...

    @abstractmethod
    def _figures(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class TensorReport(Report):
    """Tensors against float64, held to float32's own noise.

    Attributes:
        outputs: every output that the artifact has.
    """

    kind = "tensor"
    outputs: tuple[OutputError64, ...]

    @property
    def share(self) -> float:
        return self.worst.max_abs / self.worst.allowed

    @property
    def errors(self) -> Sequence[OutputDifference]:
        return self.outputs

    @property
    def bound(self) -> float | None:
        return self.outputs[0].allowed

    @property
    def worst(self) -> OutputError64:
        """The output that is nearest to its bound, or farthest beyond it."""
        return max(self.outputs, key=lambda output: output.max_abs / output.allowed)

    def _near(self) -> bool:
        return all(output.ok for output in self.outputs)

    def _figures(self) -> str:
        return f"max|Δ| {self.worst.max_abs:.1e} = {self.worst.ratio:.1f}x noise"


@dataclass(frozen=True, kw_only=True)
class MaskReport(TensorReport):
    """The same at a reduced precision, where the masks of photographs decide."""

    kind = "mask"
    masks: MaskError

    @property
    def share(self) -> float:
        return self.masks.share(self.masks.bound)

    @property
    def bound(self) -> float | None:
        return None

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"masks": asdict(self.masks)}

    def _near(self) -> bool:
        return self.masks.ok and all(np.isfinite(output.max_abs) for output in self.outputs)

    def _figures(self) -> str:
        return f"{super()._figures()}; {self.masks.summary(self.masks.bound)}"


@dataclass(frozen=True, kw_only=True)
class PixelReport(Report):
    """Pictures out of an artifact that takes pictures: grey levels decide."""

    kind = "pixel"
    pixels: PixelError

    @property
    def share(self) -> float:
        bound = self.pixels.bound
        return self.pixels.share(bound) if bound else (1 - self.pixels.near) / (1 - NEAR)

    @property
    def errors(self) -> Sequence[OutputDifference]:
        return (OutputDifference("mask", self.pixels.largest, self.pixels.mae),)

    @property
    def bound(self) -> float | None:
        return 1 / 255

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"pixels": asdict(self.pixels)}

    def _near(self) -> bool:
        return self.pixels.ok

    def _figures(self) -> str:
        return str(self.pixels)
