"""A profile's normalisation as part of a network's first kernel, so that a file of integers takes pixels as they are.

It takes pixel / 255 - middle, where `middle` is one whole grey level for all channels, so that what pads the picture is
a pixel too. Inside the picture nothing is computed differently; in the outermost row the padding is this grey instead
of each channel's own mean.
"""

from collections.abc import Mapping

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.preprocessing import Profile

from .integer_network import Steps

__all__ = ["from_pixels", "pixel_steps", "shifted", "to_pixels"]


def middle(profile: Profile) -> int:
    """The grey level that stands for 0."""
    return round(255 * float(np.mean(profile.mean)))


def pixel_steps(profile: Profile) -> Steps:
    """Of the picture in int8: a pixel minus 128."""
    return Steps(np.dtype(np.int8), 1 / 255, middle(profile) - 128)


def shifted(pixels: np.ndarray, profile: Profile) -> np.ndarray:
    """uint8 (H, W, 3) to what the network takes, (1, 3, H, W) float32."""
    return ((pixels.astype(np.float32) - middle(profile)) / 255).transpose(2, 0, 1)[None].copy()


def to_pixels(checkpoint: Checkpoint, profile: Profile) -> Checkpoint:
    """`checkpoint`, folded, for shifted pixels instead of normalised ones; with the profile's ending, `invert`."""
    state = dict(checkpoint.state)
    name = checkpoint.arch.units()[0].conv_path
    std, mean = np.asarray(profile.std), np.asarray(profile.mean)
    kernel = state[f"{name}.weight"].astype(np.float64) / std[:, None, None]
    offset = middle(profile) / 255 - mean
    _put(state, name, kernel, state[f"{name}.bias"] + (kernel * offset[:, None, None]).sum((1, 2, 3)))
    return _inverted(checkpoint, state, profile)


def from_pixels(checkpoint: Checkpoint, profile: Profile) -> Checkpoint:
    """What `to_pixels` was given."""
    state = dict(checkpoint.state)
    name = checkpoint.arch.units()[0].conv_path
    std, mean = np.asarray(profile.std), np.asarray(profile.mean)
    kernel = state[f"{name}.weight"].astype(np.float64)
    offset = middle(profile) / 255 - mean
    bias = state[f"{name}.bias"] - (kernel * offset[:, None, None]).sum((1, 2, 3))
    _put(state, name, kernel * std[:, None, None], bias)
    return _inverted(checkpoint, state, profile)


def _put(state: dict[str, np.ndarray], name: str, kernel: np.ndarray, bias: np.ndarray) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = kernel.astype(np.float32), bias.astype(np.float32)


def _inverted(checkpoint: Checkpoint, state: Mapping[str, np.ndarray], profile: Profile) -> Checkpoint:
    """1 - sigmoid(x) is sigmoid(-x)."""
    last = checkpoint.arch.heads[-1] if checkpoint.arch.fused else checkpoint.arch.heads[0]
    if profile.invert:
        state = dict(state)
        for leaf in ("weight", "bias"):
            state[f"{last.conv_path}.{leaf}"] = -state[f"{last.conv_path}.{leaf}"]
    return Checkpoint.from_state(dict(state), arch=checkpoint.arch, meta=checkpoint.meta)
