"""Does a file do what it says? Its own runtime beside the Torch model made from the weights that are in it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import U2ZooError, one_line

from .base import DEFAULT_SIZE, Format
from .bent import Answer, Sample
from .diagnosis import Explanation, explain
from .matching import difference
from .parity import Reference, in_batches, pixel_error
from .proof import PixelError
from .sources import format_of, read_source

__all__ = ["Agreement", "Explanation", "agreement", "inspect"]

RATIO = 10.0  # two float32 programs may each stray from float64, and in another direction, than Torch does …
SLACK = 1e-5  # … plus this


@dataclass(frozen=True)
class Agreement:
    """What the comparison found.

    Attributes:
        ok: the file computes what its weights mean.
        outputs: names in the file -> names in the network, by which answers were compared.
        max_abs, mean_abs: differences over these outputs; `allowed` is the bound on the first.
        explanation: the suspect that explains the difference; None when they agree, or when none does.
        skipped: why nothing was run, or None.
        pixels: what a file that takes pictures was found to answer, or None.
    """

    ok: bool
    outputs: dict[str, str]
    max_abs: float
    mean_abs: float
    allowed: float
    explanation: Explanation | None = None
    skipped: str | None = None
    pixels: PixelError | None = None

    def summary(self) -> str:
        """One line for people."""
        if self.skipped:
            return f"not run: {self.skipped}"
        if self.pixels:
            return f"{'agrees with' if self.ok else 'differs from'} its weights: {self.pixels}"
        if self.ok:
            return f"agrees with its weights on {len(self.outputs)} outputs: max|Δ| {self.max_abs:.1e}"
        text = f"differs from its weights: max|Δ| {self.max_abs:.1e}, mean {self.mean_abs:.1e}"
        if self.explanation is None:
            return f"{text}; none of the known causes explains it"
        return f"{text}; {self.explanation.text()}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"summary": self.summary()}


def inspect(path: str | Path) -> tuple[Checkpoint, Agreement]:
    """The weights in a file, and whether the file computes what they mean.

    Raises:
        InputError: the file cannot be used. A runtime that cannot run it is no error but a reason, in `skipped`.
    """
    path = Path(path)
    fmt = format_of(path)
    checkpoint = read_source(path)
    return checkpoint, agreement(fmt, path, checkpoint)


def agreement(fmt: Format, path: Path, checkpoint: Checkpoint) -> Agreement:
    """Runs `path` and the Torch model of `checkpoint` on a photograph and on noise, and compares."""
    try:
        fmt.require()
        predictor = fmt.run(path)
        reference = Reference(checkpoint, predictor.size or predictor.default or DEFAULT_SIZE)
        if predictor.baking:
            found = pixel_error(predictor, predictor.baking, reference, fmt.bounds.get(predictor.baking.precision))
            return Agreement(found.ok, {"mask": "mask"}, found.largest, found.mae, 1 / 255, pixels=found)
        return _compared(in_batches(predictor, reference.inputs), reference)
    except MemoryError:
        raise
    except Exception as error:  # another maker's file can fail in its runtime in any way
        text = str(error) if isinstance(error, U2ZooError) else one_line(error)
        return Agreement(False, {}, 0.0, 0.0, 0.0, skipped=text)


def _compared(results: Answer, reference: Reference) -> Agreement:
    names, largest, mean = difference(results, reference.exact)
    allowed = RATIO * max(reference.noise.values()) + SLACK
    if largest <= allowed:
        return Agreement(True, names, largest, mean, allowed)
    first = {name: value[:1] for name, value in results.items()}
    exact = {name: value[:1] for name, value in reference.exact.items()}
    found = explain(first, reference.checkpoint, exact, Sample(reference.inputs[:1]))
    return Agreement(False, found[1] if found else names, largest, mean, allowed, found[0] if found else None)
