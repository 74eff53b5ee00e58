"""Weights to start from: fresh ones, and whether a checkpoint's are fit to train. NumPy: all engines start alike."""

import zlib
from dataclasses import replace

import numpy as np

from ..arch import Architecture
from ..batch_norm import IDENTITY
from ..checkpoint import Checkpoint
from ..errors import OptionError
from ..identify import named
from ..preprocessing import KNOWN_PROFILES
from .recipe import TRAINED, Recipe

__all__ = ["adapted", "check_channels", "following", "fresh", "lacks_statistics", "with_channels"]

FRESH = "fresh"


def fresh(arch: Architecture, seed: int) -> Checkpoint:
    """Torch's default initialisation: kernels and biases uniform in ±1/sqrt(fan in), norms 1, 0, 0, 1.

    Each tensor is drawn from the seed and its own name, so it is the same whatever else the network holds.
    """
    state: dict[str, np.ndarray] = {}
    shapes = arch.state_shapes()
    for key, shape in shapes.items():
        module, leaf = key.rsplit(".", 1)
        if leaf == "num_batches_tracked":
            state[key] = np.zeros((), np.int64)
        elif module.endswith("bn_s1"):
            value = 1 if leaf in ("weight", "running_var") else 0
            state[key] = np.full(shape, value, np.float32)
        else:
            bound = 1 / np.sqrt(np.prod(shapes[f"{module}.weight"][1:]))
            rng = np.random.default_rng((seed, zlib.crc32(key.encode())))
            state[key] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return Checkpoint.from_state(state, arch=arch, meta={"source": FRESH})


def lacks_statistics(checkpoint: Checkpoint) -> bool:
    """Whether every norm is the identity though the weights are trained, as when norms were folded into them."""
    if checkpoint.meta.get("source") == FRESH:
        return False
    norms = [(key, value) for key, value in checkpoint.state.items() if ".bn_s1." in key and value.ndim]
    return all(np.allclose(value, IDENTITY[key.rsplit(".", 1)[1]], atol=2e-3) for key, value in norms)


def with_channels(arch: Architecture, out_ch: int, in_ch: int = 3) -> Architecture:
    """The network with other outputs and another input: one output channel is a mask, several are logits of classes."""
    if arch.out_ch != out_ch:
        arch = replace(arch, out_ch=out_ch, final="sigmoid" if out_ch == 1 else "none")
    if arch.in_ch != in_ch and arch.stem:
        arch = replace(arch, stem=replace(arch.stem, in_ch=in_ch))
    elif arch.in_ch != in_ch:
        arch = replace(arch, encoder=(replace(arch.encoder[0], in_ch=in_ch), *arch.encoder[1:]))
    return named(arch)


def following(recipe: Recipe, start: Checkpoint) -> Recipe:
    """The recipe where nobody named a profile: with that of the weights to start from, if it is one that is trained."""
    own = start.meta.get("profile", "")
    if own in TRAINED and KNOWN_PROFILES[own].channels == start.arch.in_ch:
        return replace(recipe, profile=own)
    return recipe


def check_channels(start: Architecture, recipe: Recipe) -> None:
    """Raises OptionError: the profile drops a channel that the weights see. Grey for three colours drops none."""
    if start.in_ch > recipe.in_ch and (start.in_ch, recipe.in_ch) != (3, 1):
        fitting = [name for name in TRAINED if KNOWN_PROFILES[name].channels == start.in_ch]
        raise OptionError(
            f"the weights see {start.in_ch} channels, profile {recipe.profile} prepares {recipe.in_ch};"
            f" name one with --profile{': ' if fitting else ''}{', '.join(fitting)}"
        )


def adapted(checkpoint: Checkpoint, out_ch: int, seed: int, in_ch: int = 3) -> Checkpoint:
    """The weights for other classes or another input: heads are drawn anew, the first kernel sees what it can.

    Grey instead of three colours: the kernel's sum over them, so that grey is answered as its copy in each channel was.
    Three colours instead of grey: a third of the kernel for each. A channel more than three: not looked at in the
    beginning. See `check_channels` for what is refused before.
    """
    if (checkpoint.arch.out_ch, checkpoint.arch.in_ch) == (out_ch, in_ch):
        return checkpoint
    arch, given = with_channels(checkpoint.arch, out_ch, in_ch), checkpoint.arch
    heads = {unit.conv_path for unit in arch.heads} if out_ch != given.out_ch else set()
    new = fresh(arch, seed).state
    state = {key: new[key] if key.rsplit(".", 1)[0] in heads else value for key, value in checkpoint.state.items()}
    first = f"{arch.units()[0].conv_path}.weight"
    state[first] = _seen_by(state[first], in_ch)
    return Checkpoint.from_state(state, arch=arch, meta=checkpoint.meta)


def _seen_by(kernel: np.ndarray, in_ch: int) -> np.ndarray:
    """A first kernel (O, I, h, w) for another number of channels."""
    if in_ch == 1:
        return kernel.sum(axis=1, keepdims=True)
    if kernel.shape[1] == 1:
        kernel = np.repeat(kernel / 3, 3, axis=1)
    more = np.zeros((kernel.shape[0], in_ch - kernel.shape[1], *kernel.shape[2:]), kernel.dtype)
    return np.concatenate([kernel, more], axis=1)
