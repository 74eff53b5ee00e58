"""Which convolutions of an ONNX file become int8: measured in Torch one by one, proved together in onnxruntime."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..formats.onnx_reports import unreported_onnxruntime
from ..mask_errors import MaskBound, MaskErrors
from ..options import DEFAULT_SIZE, Options
from ..progress import report
from .equalise import equalised
from .mixed_precision import RANKED_ON, Plan, counter, fewest, pictures, ranking_size, stricter
from .onnx_qdq import SCALE, quantised
from .rounding import rounded
from .sensitivity import LayerCost, SensitivityAnalysis

__all__ = ["int8"]

# Of what a bound permits: integer kernels differ from release to release. In the file that the search makes of u2netp
# the worst of 18 photographs had an IoU of 0.9607 with onnxruntime 1.23 and 0.9590 with 1.32; the bound is 0.96.
EVERY_RELEASE = 0.9
SMALL = 0.01  # of the network's multiplications: keeping a layer below this costs next to no time


def int8(
    checkpoint: Checkpoint, options: Options, bound: MaskBound, export: Callable[[Checkpoint, Options], Any]
) -> tuple[Any, Plan]:
    """The model with as much work as the bound permits in int8, and the plan.

    Args:
        export: writes a folded checkpoint as an ONNX model in float32, convolutions in execution order. Layers are
            tried on tensors; a profile goes into the graph at the end.

    Raises:
        InputError: the calibration folder holds no photographs.
        ParityError: the bound cannot be met; says how close it came.
    """
    size = options.size or DEFAULT_SIZE
    report("measuring how far feature maps reach")
    analysis = SensitivityAnalysis(checkpoint, pictures(checkpoint, size, options.calibration))
    level = equalised(checkpoint, analysis.reach())
    costs = _costs(level, options)
    tensors = replace(options, io="tensor", profile=None, stretch=None)
    model = export(level, tensors)

    def chosen(model: Any, kept: Sequence[str]) -> Any:
        nodes = [node.name for node in model.graph.node if node.op_type == "Conv"]
        names = {unit.path: name for unit, name in zip(level.arch.units(), nodes, strict=True)}
        return quantised(model, [names[cost.path] for cost in costs if cost.path not in kept])

    def errors(kept: Sequence[str]) -> MaskErrors:
        report(f"trying with {len(kept)} of {len(costs)} layers kept")
        return _errors(chosen(model, kept), analysis)

    aim = stricter(bound, EVERY_RELEASE)
    kept, found = fewest([cost.path for cost in costs], errors, aim, "int8")
    final = model if options == tensors else export(level, options)
    return chosen(final, kept), Plan("int8", kept, tuple(costs), found, len(analysis.inputs), level)


def _costs(level: Checkpoint, options: Options) -> list[LayerCost]:
    """The layer first that costs the masks most for the work that it saves."""
    small = ranking_size(options.size or DEFAULT_SIZE)
    analysis = SensitivityAnalysis(level, pictures(level, small, options.calibration)[:RANKED_ON], grid=float(SCALE))
    inner = [unit.path for unit in level.arch.units() if unit.relu][1:]  # the first takes the image as it is
    kernels = {path: rounded(analysis.kernels[path], "int8") for path in inner}
    costs = analysis.costs(kernels, counter("measuring layers", RANKED_ON * len(kernels)))
    least = SMALL * sum(cost.work for cost in costs)
    return sorted(costs, key=lambda cost: (-cost.mae / max(cost.work, least), cost.path))


def _errors(model: Any, analysis: SensitivityAnalysis) -> MaskErrors:
    onnxruntime = unreported_onnxruntime()
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    masks = [session.run(["mask"], {"image": np.ascontiguousarray(x.numpy())})[0][0] for x in analysis.inputs]
    return MaskErrors.of(list(zip(masks, analysis.masks, strict=True)))
