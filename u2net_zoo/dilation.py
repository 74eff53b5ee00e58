"""Which blocks dilate instead of pooling: what the shapes of a network's tensors leave open.

RSU-4 and RSU-4F hold tensors of the same names and shapes. In every published network the two deepest stages and the
first one of the decoder are RSU-4F. A file with a graph says it; for one without, blocks of height 4 are taken as
published, which is said where the widths are not those of a published network; of others it has to be told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .arch import KNOWN, Architecture
from .errors import CheckpointError, OptionError
from .units import RSU

__all__ = ["ANSWERS", "BLOCKS", "Dilations", "assumed", "decided", "kinds_of", "usually_dilated"]

PUBLISHED = 4  # the height of all dilated blocks of the published networks
ANSWERS = ("dilated", "plain")
BLOCKS = "u2zoo.blocks"  # the metadata of weight files that says it, as `kinds_of` writes it
Dilations = Sequence[int] | Mapping[str, int]


def usually_dilated(arch: Architecture) -> tuple[str, ...]:
    """Paths of the blocks that are dilated in the published networks: `stage5`, `stage6`, `stage5d`."""
    return tuple(block.path for block in (*arch.encoder[-2:], arch.decoder[0]))


def kinds_of(arch: Architecture) -> str:
    """What every block is, in the order in which they run: `7,6,5,4,4F,4F,4F,4,5,6,7`."""
    return ",".join(f"{block.height}{'F' if block.dilated else ''}" for block in arch.blocks)


def decided(arch: Architecture, dilations: Dilations = (), blocks: str | None = None) -> Architecture:
    """`arch` with the blocks dilated that are so in the file.

    Args:
        arch: heights and widths are right.
        dilations: of the convolutions, as they run or by their units' paths, as far as a file tells; 0 for one of which
            it does not.
        blocks: for what the file leaves open: `dilated`, `plain`, or every block as `kinds_of` writes them.

    Raises:
        CheckpointError: a block may be either, and nobody says which.
        OptionError: `blocks` is none of these, is of other heights, or is not what the file says.
    """
    places = _by_path(arch, dilations)
    answers = {} if blocks is None else _answers(arch, blocks)
    settled = {}
    for block in arch.blocks:
        settled[block.path] = _is_dilated(arch, block, [places.get(u.path, 0) for u in block.units], answers)
    encoder, decoder = (
        tuple(replace(block, dilated=settled[block.path]) for block in side) for side in (arch.encoder, arch.decoder)
    )
    return replace(arch, encoder=encoder, decoder=decoder)


def _by_path(arch: Architecture, dilations: Dilations) -> Mapping[str, int]:
    if isinstance(dilations, Mapping):
        return dilations
    paths = [unit.path for unit in arch.units()]
    return dict(zip(paths, dilations, strict=True)) if len(dilations) == len(paths) else {}  # else of other ones, too


def assumed(arch: Architecture, dilations: Dilations = (), blocks: str | None = None) -> str | None:
    """A sentence on what `decided` took as published without being told; None: all of it was said, or is published."""
    said = blocks is not None or any(_by_path(arch, dilations).values())
    if said or _shape(arch) in map(_shape, KNOWN):
        return None
    dilated = ", ".join(block.path for block in arch.blocks if block.dilated)
    return f"the file does not say which blocks are dilated; as in the published networks, these are: {dilated}"


def _shape(arch: Architecture) -> list[tuple[int, int, int]]:
    """Of the blocks: what tells a published network from one of the same heights whose maker may dilate otherwise."""
    return [(block.height, block.mid_ch, block.out_ch) for block in arch.blocks]


def _is_dilated(arch: Architecture, block: RSU, found: list[int], answers: dict[str, bool]) -> bool:
    for dilated in (True, False):
        if found == [unit.dilation for unit in replace(block, dilated=dilated).units]:
            if answers.get(block.path, dilated) != dilated:
                raise OptionError(f"{block.path} {'is' if dilated else 'is not'} dilated in the file; leave --arch out")
            return dilated
    if block.path in answers:
        return answers[block.path]
    deep = block.path in usually_dilated(arch)
    if not deep or block.height == PUBLISHED:
        return deep
    if any(found):
        steps = ", ".join(map(str, found))
        raise CheckpointError(
            f"{block.path}: its convolutions dilate by {steps}, as no known block of height {block.height} does"
        )
    raise CheckpointError(
        f"{block.path} has height {block.height}: dilated or not? Its shapes do not say; answer once: u2zoo"
        f" convert … --to safetensors --arch {' or --arch '.join(ANSWERS)}"
    )


def _answers(arch: Architecture, blocks: str) -> dict[str, bool]:
    if blocks in ANSWERS:
        return dict.fromkeys(usually_dilated(arch), blocks == "dilated")
    kinds = blocks.upper().split(",")
    heights = [str(block.height) for block in arch.blocks]
    if [kind.removesuffix("F") for kind in kinds] != heights:
        raise OptionError(
            f"--arch {blocks}: allowed: {', '.join(ANSWERS)}, or a kind for each block, {','.join(heights)},"
            " with an F behind those that are dilated"
        )
    return {block.path: kind.endswith("F") for block, kind in zip(arch.blocks, kinds, strict=True)}
