"""What a finished run reports."""

from dataclasses import asdict, dataclass, field

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    steps: optimizer steps since the very beginning.
    loss: of the last step.
    best: lowest validation loss, None without validation.
    stopped: `"end of schedule"` or `"early stopping"`.
    weights: the file to use.
    skipped: photographs that could not be read, with how often they came up.
    """

    steps: int
    loss: float
    best: float | None
    stopped: str
    weights: str
    seconds: float
    steps_per_second: float
    skipped: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)
