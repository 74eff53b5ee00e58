"""Which convolutions are computed in integers: measured in Torch one by one, proved together by the runtime itself.

Used by formats whose runtimes multiply int8: the network is equalised, one scale serves every feature map.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..mask_errors import MaskBound, MaskErrors
from ..options import DEFAULT_SIZE, Options
from ..progress import report
from .equalise import equalised
from .mixed_precision import RANKED_ON, Plan, counter, fewest, pictures, ranking_size, stricter
from .rounding import rounded
from .sensitivity import LayerCost, SensitivityAnalysis

__all__ = ["HEADROOM", "SCALE", "Runs", "plan_integers"]

# Room above what was seen on the calibration photographs. Measured on u2netp and 6 of the 18 photographs that its bound
# was measured on, 2026-11-21, mean IoU: 0.980 without, 0.987 with a factor of 1.3, 0.990 with 1.7.
HEADROOM = 1.7
SCALE = np.float32(HEADROOM / 255)  # of every feature map; zero is 0
# Of what a bound permits: integer kernels differ from release to release. In the file that the search makes of u2netp
# the worst of 18 photographs had an IoU of 0.9607 with onnxruntime 1.23 and 0.9590 with 1.32; the bound is 0.96.
EVERY_RELEASE = 0.9
SMALL = 0.01  # of the network's multiplications: keeping a layer below this costs next to no time

# What runs the equalised network with these units (paths) in int8: a photograph (1, C, H, W) to its mask (O, H, W).
Runs = Callable[[Checkpoint, Options, Collection[str]], Callable[[np.ndarray], np.ndarray]]


def plan_integers(checkpoint: Checkpoint, options: Options, bound: MaskBound, runs: Runs) -> Plan:
    """As much work as the bound permits in int8; `checkpoint` of the plan is the equalised network.

    Layers are tried on one tensor at a time, whatever the file will take.

    Raises:
        InputError: the calibration folder holds no photographs.
        ParityError: the bound cannot be met; says how close it came.
    """
    size = options.size or DEFAULT_SIZE
    report("measuring how far feature maps reach")
    analysis = SensitivityAnalysis(checkpoint, pictures(checkpoint, size, options.calibration))
    level = equalised(checkpoint, analysis.reach())
    costs = _costs(level, options)
    tensors = replace(options, io="tensor", profile=None, stretch=None, batch=1)

    def errors(kept: Sequence[str]) -> MaskErrors:
        report(f"trying with {len(kept)} of {len(costs)} layers kept")
        mask = runs(level, tensors, [cost.path for cost in costs if cost.path not in kept])
        found = [mask(np.ascontiguousarray(x.numpy())) for x in analysis.inputs]
        return MaskErrors.of(list(zip(found, analysis.masks, strict=True)))

    kept, found = fewest([cost.path for cost in costs], errors, stricter(bound, EVERY_RELEASE), "int8")
    return Plan("int8", kept, tuple(costs), found, len(analysis.inputs), level)


def _costs(level: Checkpoint, options: Options) -> list[LayerCost]:
    """The layer first that costs the masks most for the work that it saves."""
    small = ranking_size(options.size or DEFAULT_SIZE)
    analysis = SensitivityAnalysis(level, pictures(level, small, options.calibration)[:RANKED_ON], grid=float(SCALE))
    inner = [unit.path for unit in level.arch.units() if unit.relu][1:]  # the first takes the image as it is
    kernels = {path: rounded(analysis.kernels[path], "int8") for path in inner}
    costs = analysis.costs(kernels, counter("measuring layers", RANKED_ON * len(kernels)))
    least = SMALL * sum(cost.work for cost in costs)
    return sorted(costs, key=lambda cost: (-cost.mae / max(cost.work, least), cost.path))
