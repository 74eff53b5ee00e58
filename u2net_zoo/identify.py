"""Which network a state dict belongs to: from its keys and shapes, behind any prefix."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from .arch import KNOWN, STEM, Architecture, two_level
from .dilation import Dilations, decided
from .errors import CheckpointError, NotANetworkError

__all__ = ["ANCHOR", "SHOWN", "identify", "named", "shortlist", "strip_prefix"]

ANCHOR = "stage1.rebnconvin.conv_s1.weight"
SHOWN = 3  # how many keys of a kind an error names


def strip_prefix(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state without a wrapper's prefix (`module.`, `model.`, `net.module.` …).

    Keys outside the prefix belong to the wrapper (a loss, say) and are left out.
    """
    prefixes = [key[: -len(ANCHOR)] for key in state if key.endswith("." + ANCHOR)]
    if ANCHOR in state or not prefixes:
        return dict(state)
    if len(prefixes) > 1:
        raise CheckpointError(
            f"holds {len(prefixes)} networks ({', '.join(sorted(prefixes))}); save the one that is meant"
        )
    (prefix,) = prefixes
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def identify(
    shapes: Mapping[str, tuple[int, ...]], dilations: Dilations = (), blocks: str | None = None
) -> Architecture:
    """The architecture that has these state-dict keys and shapes, at any width and any number of output channels.

    One output channel means a sigmoid mask, more mean one logit per class, as in the published clothes model.

    Args:
        dilations, blocks: see `dilation.decided`.

    Raises:
        CheckpointError: some keys do not fit; names them. Or they leave open which blocks are dilated.
    """
    depth = 0
    while f"stage{depth + 1}.rebnconvin.conv_s1.weight" in shapes:
        depth += 1
    if depth < 3 or "side1.weight" not in shapes:
        wanted = (*(f"stage{n}.rebnconvin.conv_s1.weight" for n in (1, 2, 3)), "side1.weight")
        missing = [key for key in wanted if key not in shapes]
        raise NotANetworkError(f"not a U²-Net: without {shortlist(missing)}; it has {shortlist(shapes)}")
    if len(shapes["side1.weight"]) != 4:
        raise CheckpointError(f"side1.weight: expected a 4-D kernel, got {shapes['side1.weight']}")
    fused, stem = "outconv.weight" in shapes, shapes.get(f"{STEM}.weight")
    sides = sum(f"side{n}.weight" in shapes for n in range(1, depth + 1))
    encoder = [_stage(shapes, f"stage{n}") for n in range(1, depth + 1)]
    decoder = [_stage(shapes, f"stage{n}d") for n in range(depth - 1, 0, -1)]
    out_ch, final = shapes["side1.weight"][0], "sigmoid" if shapes["side1.weight"][0] == 1 else "none"
    in_ch, stem_ch = (stem[1], stem[0]) if stem and len(stem) == 4 else (shapes[ANCHOR][1], None)
    name = "u2net-custom" if stem_ch is None else "isnet-custom"
    arch = two_level(
        name, encoder, decoder, in_ch=in_ch, out_ch=out_ch, final=final, stem_ch=stem_ch, fused=fused or not stem_ch
    )
    if not arch.fused and sides < depth:
        arch = replace(arch, side_count=sides)
    if not any(".bn_s1." in key for key in shapes):
        arch = arch.fold()
    return named(decided(arch, dilations, blocks))


def named(arch: Architecture) -> Architecture:
    """`arch`, under its published name where it has one, folded or not."""
    name = next((known.name for known in KNOWN if arch in (known, known.fold())), arch.name)
    return replace(arch, name=name)


def _stage(shapes: Mapping[str, tuple[int, ...]], path: str) -> tuple[str, int, int]:
    levels = [int(m[1]) for key in shapes if (m := re.fullmatch(rf"{path}\.rebnconv(\d+)\.conv_s1\.weight", key))]
    entry, first = (shapes.get(f"{path}.{name}.conv_s1.weight") for name in ("rebnconvin", "rebnconv1"))
    if not entry or not first or len(entry) != 4 or len(first) != 4:
        raise NotANetworkError(f"not a U²-Net: {path}.rebnconvin and {path}.rebnconv1 are missing or not 4-D kernels")
    return str(max(levels)), first[0], entry[0]


def shortlist(keys: Iterable[str], joint: str = ", ") -> str:
    """The first few of `keys`, for an error, and how many more there are: `a, b, c, … 4 more`."""
    names = list(keys)
    return joint.join(names[:SHOWN]) + (f"{joint}… {len(names) - SHOWN} more" if len(names) > SHOWN else "")
