"""A float16 ML Program whose rounded kernels are stored as int8 or as palettes (iOS 16 or later)."""

from typing import Any

from .mixed_precision import Plan

__all__ = ["compressed"]


def compressed(package: Any, plan: Plan) -> Any:
    """`package`, a coremltools model of `plan.checkpoint` with its convolutions in execution order, compressed.

    The kernels are rounded already, so nothing is searched here: coremltools finds the same scales and palettes again.
    """
    import coremltools.optimize.coreml as cto

    names = [_name(operation) for operation in _operations(package) if operation.type == "conv"]
    units = [unit.path for unit in plan.checkpoint.arch.units()]
    chosen = [name for name, path in zip(names, units, strict=True) if path in plan.rounded]
    if plan.scheme == "int8":
        how = cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=0)
        config = cto.OptimizationConfig(op_name_configs=dict.fromkeys(chosen, how))
        return cto.linear_quantize_weights(package, config)
    palette = cto.OpPalettizerConfig(mode="unique", weight_threshold=0)
    return cto.palettize_weights(package, cto.OptimizationConfig(op_name_configs=dict.fromkeys(chosen, palette)))


def _operations(package: Any) -> list[Any]:
    function = package.get_spec().mlProgram.functions["main"]
    return list(function.block_specializations[function.opset].operations)


def _name(operation: Any) -> str:
    return str(operation.attributes["name"].immediateValue.tensor.strings.values[0])
