"""Which layers are rounded and which stay, so that the masks of photographs stay within a bound."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ParityError

from .. import sample_images
from ..mask_errors import MaskBound, MaskErrors
from ..options import DEFAULT_SIZE, Options
from ..progress import report
from .rounding import rounded
from .sensitivity import LayerCost, SensitivityAnalysis

__all__ = ["RANKED_ON", "Plan", "counter", "fewest", "pictures", "plan_weights", "ranked", "ranking_size", "stricter"]

RANKED_AT = 160  # largest side at which layers are measured one by one; the search itself is at the model's size
RANKED_ON = 4  # photographs
SMALLEST = 512  # weights; a smaller kernel is not worth a palette
HELD_BACK = 0.3  # of what a bound permits: left for photographs that were not calibrated on
FINER = {"palette6": "palette8", "palette4": "palette8"}  # for layers that few bits ruin and 8 do not
FINER_PART = 0.35  # of what a bound permits: the most that layers may take while all are in the finer scheme


@dataclass(frozen=True)
class Plan:
    """What was found.

    Attributes:
        scheme: a key of `rounding.BITS`.
        kept: paths of the units that stay as they were, the most costly first.
        finer: paths of the units that are rounded to `FINER[scheme]` instead, the most costly first.
        costs: of every unit that was measured, the most costly (for what it saves) first.
        errors: on the calibration photographs, computed in Torch with everything else rounded.
        photographs: how many these were.
        checkpoint: the folded network with the other kernels rounded.
    """

    scheme: str
    kept: tuple[str, ...]
    costs: tuple[LayerCost, ...]
    errors: MaskErrors
    photographs: int
    checkpoint: Checkpoint
    finer: tuple[str, ...] = ()

    @property
    def rounded(self) -> frozenset[str]:
        """Paths of the units whose kernels were rounded."""
        return frozenset(cost.path for cost in self.costs) - set(self.kept)

    def summary(self, shown: int = 3) -> str:
        """`2 of 105 layers stay (stage2d.rebnconv1d costs IoU 0.446, …)`."""
        iou = {cost.path: 1 - cost.iou for cost in self.costs}
        named = [f"{path} costs IoU {iou[path]:.3f}" for path in self.kept[:shown]]
        more = [f"{len(self.kept) - shown} more"] if len(self.kept) > shown else []
        listed = f" ({', '.join(named + more)})" if named else ""
        finer = f", {len(self.finer)} are {FINER[self.scheme]}" if self.finer else ""
        return f"{len(self.kept)} of {len(self.costs)} layers stay{listed}{finer}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        layers = [asdict(cost) | {"kept": cost.path in self.kept} for cost in self.costs]
        return {
            "scheme": self.scheme,
            "photographs": self.photographs,
            "kept": list(self.kept),
            "finer": dict.fromkeys(self.finer, FINER.get(self.scheme)),
            "simulated": asdict(self.errors),
            "layers": layers,
        }


def plan_weights(checkpoint: Checkpoint, options: Options, bound: MaskBound, half: bool) -> Plan:
    """The fewest layers that have to stay when the other kernels are rounded to `options.precision`.

    Args:
        half: the program computes in float16, as an ML Program does; float32 otherwise.

    Raises:
        InputError: the calibration folder holds no photographs.
        ParityError: the bound cannot be met; says how close it came.
    """
    scheme, size = str(options.precision), options.size or DEFAULT_SIZE
    small = SensitivityAnalysis(checkpoint, pictures(checkpoint, ranking_size(size), options.calibration)[:RANKED_ON])
    exact = _worth_rounding(checkpoint, small.kernels)
    kernels = {path: rounded(kernel, scheme) for path, kernel in exact.items()}
    costs = ranked(small.costs(kernels, counter("measuring layers", RANKED_ON * len(kernels))))
    analysis = SensitivityAnalysis(checkpoint, pictures(checkpoint, size, options.calibration), half)
    order = [cost.path for cost in costs]
    stay, middle = _choose_finer(order, exact, analysis, bound, scheme)
    rest = [path for path in order if path not in stay]

    def chosen(better: Sequence[str]) -> dict[str, np.ndarray]:
        fewest_bits = {path: kernels[path] for path in rest if path not in better}
        return fewest_bits | {path: middle[path] for path in better if middle}

    def errors(better: Sequence[str]) -> MaskErrors:
        report(f"trying {scheme} with {len(stay) + len(better)} of {len(kernels)} layers in more bits")
        return analysis.errors(chosen(better))

    better, found = fewest(rest, errors, bound, scheme)
    kept, finer = (stay, better) if middle or stay else (better, ())
    rounding = replaced(checkpoint, chosen(better))
    return Plan(scheme, kept, tuple(costs), found, len(analysis.inputs), rounding, finer)


def _choose_finer(
    order: Sequence[str], exact: Mapping[str, np.ndarray], analysis: SensitivityAnalysis, bound: MaskBound, scheme: str
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The units that have to stay when all others are in the finer scheme, and the kernels of these others in it.

    No kernels where `scheme` has none, or where it would take too much of what `bound` permits.
    """
    if scheme not in FINER:
        return (), {}
    kernels = {path: rounded(kernel, FINER[scheme]) for path, kernel in exact.items()}

    def errors(kept: Sequence[str]) -> MaskErrors:
        report(f"trying {FINER[scheme]} with {len(kept)} of {len(kernels)} layers kept")
        return analysis.errors({path: kernel for path, kernel in kernels.items() if path not in kept})

    aim = stricter(bound, FINER_PART)
    kept, found = fewest(order, errors, bound, scheme, aim)
    if not found.within(aim):
        return (), {}
    return kept, {path: kernel for path, kernel in kernels.items() if path not in kept}


def ranked(costs: Sequence[LayerCost]) -> list[LayerCost]:
    """The layer first whose keeping mends most for what it stores. Errors of layers are independent: squares add."""
    return sorted(costs, key=lambda cost: (-(cost.mae**2) / cost.size, cost.path))


def fewest(
    order: Sequence[str],
    errors: Callable[[Sequence[str]], MaskErrors],
    bound: MaskBound,
    scheme: str,
    aim: MaskBound | None = None,
) -> tuple[tuple[str, ...], MaskErrors]:
    """The shortest beginning of `order` with which `errors` is within `aim`, the stricter bound; and these errors.

    Where not even all of `order` reaches that, all of it, if that is within `bound` itself.

    By doubling, then bisection: at most 2 log2(n) + 2 trials. Deterministic.

    Raises:
        ParityError: not even with all of `order`.
    """
    target = aim or stricter(bound)
    count, step, found = 0, 1, errors(())
    failed = -1
    while not found.within(target):
        if count == len(order):
            if found.within(bound):
                return tuple(order), found  # float16 itself takes what should be held back
            raise ParityError(f"{scheme}: not kept: even with every layer left as it was {found.summary(bound)}")
        failed, count, step = count, min(count + step, len(order)), 2 * step
        found = errors(order[:count])
    while count - failed > 1:
        middle = (failed + count) // 2
        trial = errors(order[:middle])
        if trial.within(target):
            count, found = middle, trial
        else:
            failed = middle
    return tuple(order[:count]), found


def stricter(bound: MaskBound, part: float = 1 - HELD_BACK) -> MaskBound:
    """What the search aims at, so that other photographs than these stay within `bound` too."""
    return MaskBound(iou=1 - part * (1 - bound.iou), mae=part * bound.mae, worst=1 - part * (1 - bound.worst))


def replaced(checkpoint: Checkpoint, kernels: Mapping[str, np.ndarray]) -> Checkpoint:
    """`checkpoint`, folded, with `kernels` (unit path -> OIHW) in the place of its own."""
    folded = checkpoint.fold()
    paths = {unit.path: unit.conv_path for unit in folded.arch.units()}
    changed = {f"{paths[path]}.weight": kernel for path, kernel in kernels.items()}
    return Checkpoint.from_state({**folded.state, **changed}, arch=folded.arch, meta=folded.meta)


def _worth_rounding(checkpoint: Checkpoint, kernels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The heads are small, and nothing behind them mends what they lose: they stay."""
    inner = [unit.path for unit in checkpoint.arch.units() if unit.relu]
    return {path: kernels[path] for path in inner if kernels[path].size >= SMALLEST}


def ranking_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, RANKED_AT / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def pictures(checkpoint: Checkpoint, size: tuple[int, int], folder: Path | None) -> list[np.ndarray]:
    """Photographs; noise for a network that takes none."""
    if checkpoint.arch.in_ch == 3:
        return sample_images.tensors(size, folder)
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, checkpoint.arch.in_ch, *size)).astype(np.float32) for _ in range(2)]


def counter(text: str, total: int) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        report(f"{text} {100 * done // total} %")

    return count
