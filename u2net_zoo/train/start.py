"""Weights to start from: fresh ones, or a checkpoint's made fit to train. NumPy, so that all engines start alike."""

import zlib
from dataclasses import replace

import numpy as np

from ..arch import BN_EPS, Architecture
from ..checkpoint import Checkpoint

__all__ = ["fresh", "lacks_statistics", "with_norms"]

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


def with_norms(checkpoint: Checkpoint) -> Checkpoint:
    """A folded checkpoint under identity norms (gamma 1, beta 0, mean 0, var 1 - eps): the same function, trainable."""
    if not checkpoint.arch.folded:
        return checkpoint
    encoder, decoder = (
        tuple(replace(b, norm=True) for b in side) for side in (checkpoint.arch.encoder, checkpoint.arch.decoder)
    )
    arch = replace(checkpoint.arch, encoder=encoder, decoder=decoder, folded=False)
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - BN_EPS}
    norms = {
        key: np.full(shape, values[key.rsplit(".", 1)[1]], np.float32)
        for key, shape in arch.state_shapes().items()
        if ".bn_s1." in key and not key.endswith("num_batches_tracked")
    }
    return Checkpoint.from_state({**checkpoint.state, **norms}, arch=arch, meta=checkpoint.meta)


def lacks_statistics(checkpoint: Checkpoint) -> bool:
    """Whether every norm is the identity though the weights are trained, as when norms were folded into them."""
    if checkpoint.meta.get("source") == FRESH:
        return False
    leaves = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    norms = [(key, value) for key, value in checkpoint.state.items() if ".bn_s1." in key and value.ndim]
    return all(np.allclose(value, leaves[key.rsplit(".", 1)[1]], atol=2e-3) for key, value in norms)
