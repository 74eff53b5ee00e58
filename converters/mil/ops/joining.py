"""Joining values and splitting one."""

import torch
from torch import Tensor

from ..registry import op
from .params import check_size, flag, integer, integers, several


@op("concat", exact=True)
def concat(values: list[Tensor], axis: Tensor, interleave: Tensor | bool = False) -> Tensor:
    """Along `axis`; interleaved: the first slices of all, then the second ones … Scalars make a vector."""
    parts, place = several(values), integer(axis)
    if parts[0].ndim == 0:
        return torch.stack(parts)
    check_size([sum(part.shape[place] for part in parts), parts[0].numel() // max(1, parts[0].shape[place])])
    if not flag(interleave):
        return torch.cat(parts, place)
    place %= parts[0].ndim
    return torch.stack(parts, place + 1).flatten(place, place + 1)


@op("stack", exact=True)
def stack(values: list[Tensor], axis: Tensor) -> Tensor:
    """Along a new axis at place `axis`."""
    return torch.stack(several(values), integer(axis))


@op("split", exact=True)
def split(
    x: Tensor, axis: Tensor, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Into equal parts, or into parts of the given sizes."""
    place = integer(axis)
    if split_sizes is not None:
        return torch.split(x, integers(split_sizes), place)
    if num_splits is None or x.shape[place] % integer(num_splits):
        raise ValueError(f"{x.shape[place]} does not split into {num_splits}")
    return torch.split(x, x.shape[place] // integer(num_splits), place)
