"""Weights to start from: fresh ones, and whether a checkpoint's are fit to train. NumPy: all engines start alike."""

import zlib
from dataclasses import replace

import numpy as np

from ..arch import Architecture
from ..batch_norm import IDENTITY
from ..checkpoint import Checkpoint
from ..identify import named

__all__ = ["adapted", "fresh", "lacks_statistics", "with_channels"]

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


def with_channels(arch: Architecture, out_ch: int) -> Architecture:
    """The network with other outputs: one channel is a mask, several are logits of classes."""
    if arch.out_ch == out_ch:
        return arch
    return named(replace(arch, out_ch=out_ch, final="sigmoid" if out_ch == 1 else "none"))


def adapted(checkpoint: Checkpoint, out_ch: int, seed: int) -> Checkpoint:
    """The weights for another number of classes: their heads are drawn anew, all else stays."""
    if checkpoint.arch.out_ch == out_ch:
        return checkpoint
    arch = with_channels(checkpoint.arch, out_ch)
    heads = {unit.conv_path for unit in arch.heads}
    new = fresh(arch, seed).state
    state = {key: new[key] if key.rsplit(".", 1)[0] in heads else value for key, value in checkpoint.state.items()}
    return Checkpoint.from_state(state, arch=arch, meta=checkpoint.meta)
