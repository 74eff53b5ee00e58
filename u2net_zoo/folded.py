"""Folded convolutions, in the order in which they run -> Checkpoint. What every reader of a nameless file ends in.

Exporters fold batch norm into the convolution before it, so a file of any format holds a list of (kernel, bias), and
the network follows from their shapes: a block begins with one that widens what came, and mirrors its levels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .arch import ISNET, U2NET, Architecture, two_level
from .checkpoint import Checkpoint
from .dilation import assumed, decided
from .errors import CheckpointError, NotANetworkError
from .identify import named

__all__ = ["architecture_of", "checkpoint_of"]

Pair = tuple[np.ndarray, np.ndarray | None]
Shapes = Sequence[tuple[int, ...]]
Stage = tuple[str, int, int]  # height, mid_ch, out_ch
FAMILIES = (U2NET, ISNET)
LEAST = 5  # blocks of a network of three stages


def checkpoint_of(
    pairs: Sequence[Pair],
    *,
    dilations: Sequence[int] = (),
    final: str | None = None,
    meta: Mapping[str, str] | None = None,
) -> Checkpoint:
    """The checkpoint, under the authors' keys and with identity norms, of convolutions in execution order.

    Args:
        pairs: (kernel OIHW, bias (O,) or None for zeros), any float dtype.
        dilations: of each, 0 where the file does not tell.
        final: `"sigmoid"` or `"none"` where the file tells; otherwise one channel means sigmoid, more mean logits.

    Raises:
        CheckpointError: the number of convolutions or a shape fits no U²-Net and no IS-Net; names the unit. Or the
            network was cut behind its sides, without the fusion: it can be run, and is no checkpoint.
    """
    arch = decided(architecture_of([tuple(int(n) for n in kernel.shape) for kernel, _ in pairs]), dilations)
    note = assumed(arch, dilations)
    meta = {**(meta or {}), **({"dilation": note} if note else {})}
    arch = named(replace(arch, final=final) if final else arch)
    state: dict[str, np.ndarray] = {}
    for unit, (kernel, bias) in zip(arch.units(), pairs, strict=True):
        state[f"{unit.conv_path}.weight"] = kernel
        state[f"{unit.conv_path}.bias"] = np.zeros(kernel.shape[0], np.float32) if bias is None else bias
    return Checkpoint.from_state(state, arch=arch.fold(), meta=meta).unfold()


def architecture_of(shapes: Shapes) -> Architecture:
    """The network whose kernels these are: of any number of stages, of any heights and widths.

    Blocks are dilated as in the published networks; see `dilation.decided`.

    Args:
        shapes: of every kernel, OIHW, in execution order.

    Raises:
        NotANetworkError: none fits.
    """
    if any(len(shape) != 4 for shape in shapes):
        raise NotANetworkError(
            f"not a U²-Net: a kernel has the shape {next(s for s in shapes if len(s) != 4)}, not OIHW"
        )
    arch = next((arch for arch in _networks(shapes) if _kernels(arch) == list(shapes)), None)
    if arch is None:
        return _nearest(shapes)
    if arch.fused or arch.stem:
        return arch
    depth, sides = len(arch.encoder), len(arch.sides)
    has = "side 1 alone" if sides == 1 else f"sides 1 to {sides}"
    lacks = "the fusion" if sides == depth else f"the fusion and {depth - sides} of {depth} sides"
    raise CheckpointError(
        f"a U²-Net that answers {has} and lacks {lacks}: it can be run and verified; converting takes the whole weights"
    )


def _networks(shapes: Shapes) -> Iterator[Architecture]:
    """What the kernels may be, without and with a stem."""
    for stem in (0, 1):
        stages, rest = _stages(shapes[stem:])
        sides, fused = len(rest), bool(rest) and rest[-1][2] == 1
        depth = (len(stages) + 1) // 2
        if len(stages) >= LEAST and len(stages) % 2 and 1 <= sides - fused <= depth and fused <= (not stem):
            arch = two_level(
                f"{FAMILIES[stem].name}-custom",
                stages[:depth],
                stages[depth:],
                in_ch=shapes[0][1],
                out_ch=rest[0][0],
                final="sigmoid" if rest[0][0] == 1 else "none",
                stem_ch=shapes[0][0] if stem else None,
                fused=fused,
            )
            yield named(arch if fused or sides == depth else replace(arch, side_count=sides))


def _stages(shapes: Shapes) -> tuple[list[Stage], Shapes]:
    """The blocks that the kernels begin with, and the kernels behind them."""
    found: list[Stage] = []
    while (stage := _stage(shapes)) is not None:
        found.append(stage)
        shapes = shapes[2 * int(stage[0]) :]
    return found, shapes


def _stage(shapes: Shapes) -> Stage | None:
    """The block of `height` levels: its entry, the levels down, and all but the lowest up again, beside the skips."""
    if len(shapes) < 2:
        return None
    (out, *_), (mid, taken, *_) = shapes[:2]
    height = 1
    while height + 1 < len(shapes) and shapes[height + 1][:2] == (mid, mid):
        height += 1
    block = shapes[: 2 * height]
    up = [(mid, 2 * mid)] * (height - 2) + [(out, 2 * mid)]
    fits = height > 1 and taken == out and [shape[:2] for shape in block[height + 1 :]] == up
    return (str(height), mid, out) if fits and all(shape[2:] == (3, 3) for shape in block) else None


def _nearest(shapes: Shapes) -> Architecture:
    """The published family that has as many convolutions, whose unit that does not fit will be named."""
    found = [_at_widths(family, shapes, sides) for family in FAMILIES for sides in _sides(family, shapes)]
    usual = [each for each in found if each.fused or (each.stem and each.side_count in (None, 1))]
    if usual:
        return usual[0]
    counts = ", ".join(f"{arch.name} {len(arch.units())}" for arch in FAMILIES)
    text = f"{len(shapes)} convolutions; expected: {counts} (fewer with fewer sides)"
    raise NotANetworkError(f"not a U²-Net: {text}")


def _sides(family: Architecture, shapes: Sequence[tuple[int, ...]]) -> list[int | None]:
    """How many sides as many convolutions leave to the family; None: all of them, and their fusion."""
    depth = len(family.encoder)
    if family.fused and len(shapes) == len(family.units()) and shapes[-1][2] == 1:
        return [None]
    sides = len(shapes) - (len(family.units()) - depth - family.fused)
    return [sides] if 1 <= sides <= depth and shapes[-1][2] != 1 else []


def _kernels(arch: Architecture) -> list[tuple[int, ...]]:
    shapes = arch.state_shapes()
    return [shapes[f"{unit.conv_path}.weight"] for unit in arch.units()]


def _at_widths(family: Architecture, shapes: Sequence[tuple[int, ...]], sides: int | None) -> Architecture:
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
        fused=family.fused and sides is None,
    )
    return named(arch if sides in (None, depth) else replace(arch, side_count=sides))
