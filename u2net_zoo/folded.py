"""Folded convolutions, in the order in which they run -> Checkpoint. What every reader of a nameless file ends in.

Exporters fold batch norm into the convolution before it, so a file of any format holds a list of (kernel, bias), and
the network follows from their shapes: the last kernel tells the family, two kernels of a stage its widths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .arch import ISNET, U2NET, Architecture, two_level
from .checkpoint import Checkpoint, named
from .errors import CheckpointError

__all__ = ["checkpoint_of"]

Pair = tuple[np.ndarray, np.ndarray | None]
FAMILIES = (U2NET, ISNET)


def checkpoint_of(
    pairs: Sequence[Pair], *, final: str | None = None, meta: Mapping[str, str] | None = None
) -> Checkpoint:
    """The checkpoint, under the authors' keys and with identity norms, of convolutions in execution order.

    Args:
        pairs: (kernel OIHW, bias (O,) or None for zeros), any float dtype.
        final: `"sigmoid"` or `"none"` where the file tells; otherwise one channel means sigmoid, more mean logits.

    Raises:
        CheckpointError: the number of convolutions or a shape fits no U²-Net and no IS-Net; names the unit.
    """
    arch = _architecture([tuple(int(n) for n in kernel.shape) for kernel, _ in pairs])
    arch = named(replace(arch, final=final)) if final else arch
    state: dict[str, np.ndarray] = {}
    for unit, (kernel, bias) in zip(arch.units(), pairs, strict=True):
        state[f"{unit.conv_path}.weight"] = kernel
        state[f"{unit.conv_path}.bias"] = np.zeros(kernel.shape[0], np.float32) if bias is None else bias
    return Checkpoint.from_state(state, arch=arch.fold(), meta=meta).unfold()


def _architecture(shapes: Sequence[tuple[int, ...]]) -> Architecture:
    """The family whose number of convolutions and last kernel fit, at the widths that the shapes show."""
    if any(len(shape) != 4 for shape in shapes):
        raise CheckpointError(
            f"not a U²-Net: a kernel has the shape {next(s for s in shapes if len(s) != 4)}, not OIHW"
        )
    for family in FAMILIES:
        stated = len(family.units())
        for sides in (len(family.encoder), 1) if not family.fused else (len(family.encoder),):
            count = stated - len(family.encoder) + sides
            if len(shapes) == count and (shapes[-1][2] == 1) == family.fused:
                return _at_widths(family, shapes, sides)
    counts = ", ".join(f"{arch.name} {len(arch.units())}" for arch in FAMILIES)
    raise CheckpointError(f"not a U²-Net: {len(shapes)} convolutions; expected: {counts} (or 114 with one side alone)")


def _at_widths(family: Architecture, shapes: Sequence[tuple[int, ...]], sides: int) -> Architecture:
    place = {unit.path: shape for unit, shape in zip(family.units(), shapes, strict=False)}
    stages = [
        (
            f"{block.height}{'F' if block.dilated else ''}",
            place[block.encoder[0].path][0],
            place[block.entry.path][0],
        )
        for block in family.blocks
    ]
    depth = len(family.encoder)
    out_ch = place["side1"][0]
    arch = two_level(
        f"{family.name}-custom",
        stages[:depth],
        stages[depth:],
        in_ch=shapes[0][1],
        out_ch=out_ch,
        final="sigmoid" if out_ch == 1 else "none",
        stem_ch=shapes[0][0] if family.stem else None,
        fused=family.fused,
    )
    return named(arch if sides == depth else replace(arch, side_count=sides))
