"""What a conversion leaves: a file or folder that was proved, and what is known of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .options import Options
from .parity_report import Report
from .quantise.mixed_precision import Plan
from .verify.self_check import Agreement

__all__ = ["Artifact"]


@dataclass(frozen=True)
class Artifact:
    """One file or folder that was written.

    Attributes:
        bytes: its size on disk.
        seconds: writing and proving together.
        proof_seconds: of them, proving: running it, comparing it, and waiting for the reference where it is not there.
        reference_seconds: what the float64 reference and its noise floor took, once for all artifacts of a call and
            beside the writing; 0 where they were recorded or remembered.
        report: what the gate found.
        beside: files that were written next to it.
        plan: which layers were rounded and what each costs, at a precision that is measured.
        source: whether the source, where it is a model itself, computes what its weights mean; None for weights.
        assumed: what the source did not say of its weights, and what was taken for it.
    """

    format: str
    path: Path
    bytes: int
    seconds: float
    options: Options
    report: Report
    beside: tuple[Path, ...] = ()
    plan: Plan | None = None
    source: Agreement | None = None
    assumed: tuple[str, ...] = ()
    proof_seconds: float = 0.0
    reference_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "format": self.format,
            "path": str(self.path),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "proof_seconds": round(self.proof_seconds, 3),
            "reference_seconds": round(self.reference_seconds, 3),
            "options": {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self.options).items()},
            "parity": self.report.to_json(),
            "beside": [str(path) for path in self.beside],
            "quantised": self.plan and self.plan.to_json(),
            "source": self.source and self.source.to_json(),
            "assumed": list(self.assumed),
        }
