"""Does a file do what it says? Its own runtime beside the Torch model made from the weights that are in it."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import U2ZooError, one_line
from u2net_zoo.preprocessing import PROFILES

from ..format import Format
from ..loading import format_of, read_source
from ..mask_errors import MaskError, PixelError
from ..options import DEFAULT_SIZE
from ..parity.compare import judge, pixel_error
from ..parity.outputs import listed, others
from ..parity.reference import Reference
from ..parity_report import MaskReport
from ..predictor import Predictor
from ..torch_predictor import TorchPredictor
from .diagnosis import Explanation, blank, quantised
from .input_conventions import INPUT_CONVENTIONS, Run, runs
from .quantised_files import held_to, precision_of
from .search import Search

__all__ = ["Agreement", "Explanation", "agreement", "inspect"]

RATIO = 10.0  # two float32 programs may each stray from float64, and in another direction, than Torch does …
SLACK = 1e-5  # … plus this
TELLS = 1e-3  # mean absolute deviation of a map that says something of its input; the bundled network's: 0.2 to 0.4


@dataclass(frozen=True)
class Agreement:
    """What the comparison found.

    Attributes:
        ok: the file computes what its weights mean.
        outputs: names in the file -> names in the network, by which answers were compared.
        max_abs, mean_abs: differences over these outputs; `allowed` is the bound on the first.
        explanation: the known fault that explains the difference; None when they agree, or when none does. Of a file
            that agrees and takes pixels: how its own normalisation is another than the paper's.
        skipped: why nothing was run, or nothing can be said of what was; None where something is.
        pixels: what a file that takes pictures was found to answer, or None.
        convention: under which of `INPUT_CONVENTIONS`.
        takes: see `Predictor`.
        others: name -> shape of what the file answers beside the maps.
        precision: what the file was held to; at a reduced one the masks of photographs decide.
        masks: theirs, where such a precision was asked about.
        untried: how many known causes, and pairs of them, were passed over to keep the search short.
    """

    ok: bool
    outputs: dict[str, str]
    max_abs: float
    mean_abs: float
    allowed: float
    explanation: Explanation | None = None
    skipped: str | None = None
    pixels: PixelError | None = None
    convention: str = INPUT_CONVENTIONS[0].name
    precision: str = "fp32"
    masks: MaskError | None = None
    takes: str = ""
    others: dict[str, tuple[int, ...]] = field(default_factory=dict)
    untried: int = 0

    def summary(self) -> str:
        """One line for people."""
        beside = [f"beside the maps it answers {listed(self.others)}"] if self.others else []
        integers = [f"takes {self.takes}"] if self.takes else []
        return "; ".join([self._finding(), *integers, *beside])

    def _finding(self) -> str:
        if self.skipped:
            return f"{'not judged' if self.outputs else 'not run'}: {self.skipped}"
        if self.pixels:
            return f"{'agrees with' if self.ok else 'differs from'} its own weights: {self.pixels}"
        if self.ok and self.explanation:
            own = f"it normalises as it likes: {self.explanation.name} (leaves a mean of {self.explanation.left:.1e})"
            return f"agrees with its own weights on {self._outputs()}; {own}"
        if self.ok and self.masks:
            return f"agrees with its own weights as {self.precision} on {self._outputs()}: {self.masks.summary()}"
        if self.ok:
            return f"agrees with its own weights on {self._outputs()}: max|Δ| {self.max_abs:.1e}"
        text = f"differs from its own weights{self._input_note()}: max|Δ| {self.max_abs:.1e}, mean {self.mean_abs:.1e}"
        text = f"{text}; {self.masks.summary(self.masks.bound)}" if self.masks else text
        if self.explanation is None:
            passed = f" ({self.untried} were not tried, to keep it short)" if self.untried else ""
            return f"{text}; none of the known causes explains it{passed}"
        return f"{text}; {self.explanation.text()}"

    def _outputs(self) -> str:
        count = len(self.outputs)
        return f"{count} output{'s' if count > 1 else ''}{self._input_note()}"

    def _input_note(self) -> str:
        return "" if self.convention == INPUT_CONVENTIONS[0].name else f", input {self.convention}"

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


def agreement(fmt: Format, path: Path, checkpoint: Checkpoint, predictor: Predictor | None = None) -> Agreement:
    """Runs `path` (`predictor`, where it is open) and the Torch model of `checkpoint` on a photograph and on noise."""
    try:
        if predictor is None:
            fmt.require_running()
            predictor = fmt.run(path, exact=True)
        if isinstance(predictor, TorchPredictor):
            return Agreement(False, {}, 0.0, 0.0, 0.0, skipped="it holds weights alone")
        size = predictor.size or predictor.default or DEFAULT_SIZE
        reference = Reference(checkpoint, size, dtype="float32")  # two float32 programs: float64 would tell no more
        if predictor.embedded:
            found = pixel_error(predictor, predictor.embedded, reference, fmt.bounds.get(predictor.embedded.precision))
            return Agreement(found.ok, {"mask": "mask"}, found.largest, found.mae, 1 / 255, pixels=found)
        return _compared(fmt, predictor, reference)
    except MemoryError:
        raise
    except Exception as error:  # another maker's file can fail in its runtime in any way
        text = str(error) if isinstance(error, U2ZooError) else one_line(error)
        return Agreement(False, {}, 0.0, 0.0, 0.0, skipped=text)


def _compared(fmt: Format, predictor: Predictor, reference: Reference) -> Agreement:
    """At float32's noise under the first input convention that agrees; at the precision that the file says or its
    integers show; as one of the known faults; and, of kernels in float16, at that."""
    checkpoint, tried = reference.checkpoint, []
    for run in runs(predictor, reference, PROFILES["paper"]):
        found = _of(run)
        if found.ok:
            return found
        tried.append(run)
    near = min(tried, key=lambda run: run.mean)
    reduced = _reduced(near, fmt, predictor.precision or held_to(checkpoint))
    if reduced.ok:
        return reduced
    search = Search(tried, checkpoint)
    if fault := search.found:
        why = fault.explanation
        normalises = fault.run.convention.scale is not None and why.exact and why.differs == "the input"
        return replace(_of(fault.run), ok=normalises, explanation=why, outputs=fault.names)
    if reduced.masks is None:
        reduced = _reduced(near, fmt, precision_of(checkpoint))
    if reduced.ok or _tells(near) or not near.mean < TELLS:
        known = quantised(checkpoint, near.mean) or blank(near.evidence)
        return reduced if reduced.ok else replace(reduced, explanation=known, untried=search.untried)
    return replace(reduced, skipped="its weights answer next to the same everywhere, as it does: that proves nothing")


def _tells(run: Run) -> bool:
    """Whether the right network answers more than one value and a few pixels."""
    maps = (value for each in run.evidence for value in each.compared.values())
    return any(float(np.abs(value - np.median(value)).mean()) >= TELLS for value in maps)


def _of(run: Run) -> Agreement:
    """At float32's noise."""
    allowed = RATIO * max(run.reference.noise.values()) + SLACK
    beside = others(run.evidence[0].results, run.names)
    found = Agreement(run.largest <= allowed, run.names, run.largest, run.mean, allowed, convention=run.convention.name)
    return replace(found, takes=run.raw.takes, others=beside)


def _reduced(run: Run, fmt: Format, precision: str) -> Agreement:
    """Held to the format's bound for `precision`; not ok where it has none."""
    bound = fmt.bound(precision)
    if bound is None:
        return replace(_of(run), ok=False)
    report = judge(run.named(run.names), run.reference, bound)
    masks = report.masks if isinstance(report, MaskReport) else None
    return replace(_of(run), ok=report.ok, precision=precision, masks=masks)
