"""Shapes: what a model takes, and whether an input fits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError

from .base import LARGEST_SIDE, Predictor, describe

__all__ = ["channels_first", "check_input", "from_last", "input_layout", "is_channels_first", "is_channels_last"]


def check_input(predictor: Predictor, x: np.ndarray) -> None:
    """Raises ArtifactError when the model cannot take a tensor of that shape."""
    if predictor.size and tuple(x.shape[2:]) != predictor.size:
        raise ArtifactError(f"the model takes {describe(predictor.size)}, got {describe(tuple(x.shape[2:]))}")
    if any(side % predictor.multiple for side in x.shape[2:]):
        given = describe(tuple(x.shape[2:]))
        raise ArtifactError(f"the model takes sides that are multiples of {predictor.multiple}, got {given}")
    if predictor.batch and x.shape[0] != predictor.batch:
        raise ArtifactError(f"the model takes batches of {predictor.batch}, got {x.shape[0]}")


def is_channels_last(shape: Sequence[Any]) -> bool:
    """Whether a 4-D shape is (N, H, W, C) where the format itself leaves it open: 1 or 3 stands last and not second."""
    return len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)


def is_channels_first(shape: Sequence[Any]) -> bool:
    """The same for formats whose channels usually come last: 1 or 3 stands second and not last."""
    return len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)


def channels_first(answer: np.ndarray, last: bool) -> np.ndarray:
    """A model's answer as (N, C, H, W), by its own shape; where that leaves it open, laid out as its input is.

    Args:
        last: the input's channels come last.
    """
    last = is_channels_last(answer.shape) or (last and not is_channels_first(answer.shape))
    return from_last(answer) if last and answer.ndim == 4 else answer


def from_last(maps: np.ndarray) -> np.ndarray:
    """(N, H, W, C) to (N, C, H, W)."""
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2))


def input_layout(shape: Sequence[Any], path: Path, channels_last: bool) -> tuple[int | None, tuple[int, int] | None]:
    """(batch, (H, W)) of a model's only input; None where any will do.

    Raises:
        ArtifactError: it is not a 4-D tensor.
    """
    layout = "(N, H, W, C)" if channels_last else "(N, C, H, W)"
    if len(shape) != 4:
        raise ArtifactError(f"{path}: its input has the shape {tuple(shape)}; a U²-Net takes {layout}")
    batch, *rest = (n if isinstance(n, int) and n > 0 else None for n in shape)
    height, width = rest[:2] if channels_last else rest[1:]
    if max(height or 0, width or 0) > LARGEST_SIDE:
        raise ArtifactError(f"{path}: takes {height}x{width}; sides of at most {LARGEST_SIDE} are run here")
    return batch, (height, width) if height and width else None
