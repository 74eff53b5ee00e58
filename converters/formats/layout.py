"""Shapes: how a model lays its tensors out, and whether an input fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError

from ..options import LARGEST_SIDE, describe
from ..predictor import Predictor, check_channels

__all__ = ["NCHW", "NHWC", "Layout", "check_input"]


def check_input(predictor: Predictor, x: np.ndarray) -> None:
    """Raises ArtifactError when the model cannot take a tensor of that shape."""
    if predictor.size and tuple(x.shape[2:]) != predictor.size:
        raise ArtifactError(f"the model takes {describe(predictor.size)}, got {describe(tuple(x.shape[2:]))}")
    if any(side % predictor.multiple for side in x.shape[2:]):
        given = describe(tuple(x.shape[2:]))
        raise ArtifactError(f"the model takes sides that are multiples of {predictor.multiple}, got {given}")
    check_channels(predictor, x)
    if predictor.batch and x.shape[0] != predictor.batch:
        raise ArtifactError(f"the model takes batches of {predictor.batch}, got {x.shape[0]}")


@dataclass(frozen=True)
class Layout:
    """Where the channels of a model's tensors stand. Outside of every predictor they are NCHW.

    Attributes:
        channels_last: the model takes NHWC.
    """

    channels_last: bool

    @classmethod
    def of(cls, shape: Sequence[Any], usual: "Layout") -> "Layout":
        """Of an input of this 4-D shape: 1 or 3 channels stand in one place alone; where they do not, as is `usual`.

        Another maker's file may have been converted from a framework with the other layout.
        """
        first, last = (len(shape) == 4 and shape[axis] in (1, 3) for axis in (1, 3))
        return usual if first == last else cls(last)

    def given(self, x: np.ndarray) -> np.ndarray:
        """(N, C, H, W) as the model takes it, contiguous."""
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if self.channels_last else x)

    def answered(self, answer: np.ndarray) -> np.ndarray:
        """What the model answered as (N, C, H, W): by its own shape; where that leaves it open, as the input is."""
        return Layout.of(answer.shape, self).nchw(answer) if answer.ndim == 4 else answer

    def nchw(self, value: np.ndarray) -> np.ndarray:
        """A 4-D value inside of the model as (N, C, H, W)."""
        return np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if self.channels_last else value

    def channels(self, shape: Sequence[Any]) -> int | None:
        """Of an input of this shape; None where it does not say."""
        count = shape[3 if self.channels_last else 1] if len(shape) == 4 else None
        return count if isinstance(count, int) and count > 0 else None

    def sizes(self, shape: Sequence[Any], path: Path | str) -> tuple[int | None, tuple[int, int] | None]:
        """(batch, (H, W)) of the model's only input; None where any will do.

        Raises:
            ArtifactError: it is not a 4-D tensor, or too large to be run.
        """
        if len(shape) != 4:
            wanted = "(N, H, W, C)" if self.channels_last else "(N, C, H, W)"
            raise ArtifactError(f"{path}: its input has the shape {tuple(shape)}; a U²-Net takes {wanted}")
        batch, *rest = (n if isinstance(n, int) and n > 0 else None for n in shape)
        height, width = rest[:2] if self.channels_last else rest[1:]
        if max(height or 0, width or 0) > LARGEST_SIDE:
            raise ArtifactError(f"{path}: takes {height}x{width}; sides of at most {LARGEST_SIDE} are run here")
        return batch, (height, width) if height and width else None


NCHW, NHWC = Layout(channels_last=False), Layout(channels_last=True)
