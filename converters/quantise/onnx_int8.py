"""ONNX in int8: the layers that `integer_layers` finds, tried in onnxruntime."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

from ..formats.onnx_reports import unreported_onnxruntime
from ..mask_errors import MaskBound
from ..options import Options
from .integer_layers import plan_integers
from .mixed_precision import Plan
from .onnx_qdq import quantised

__all__ = ["int8"]


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
    models: dict[Options, Any] = {}

    def chosen(level: Checkpoint, asked: Options, paths: Collection[str]) -> Any:
        if asked not in models:
            models[asked] = export(level, asked)
        nodes = [node.name for node in models[asked].graph.node if node.op_type == "Conv"]
        names = {unit.path: name for unit, name in zip(level.arch.units(), nodes, strict=True)}
        return quantised(models[asked], [names[path] for path in paths])

    plan = plan_integers(checkpoint, options, bound, lambda *asked: _masks(chosen(*asked)))
    return chosen(plan.checkpoint, options, plan.rounded), plan


def _masks(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    onnxruntime = unreported_onnxruntime()
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["mask"], {"image": x})[0][0]
