"""Deterministic 'hard' weights: live batch norm, saturating outputs, no training needed.

Freshly initialised U²-Nets answer about 0.48 everywhere, so any two of them agree: parity measured on
them proves nothing. These weights keep every activation alive and spread d0..d6 over (0, 1).

    state = hard_weights({k: tuple(v.shape) for k, v in model.state_dict().items()}, seed=1, gain=g)

The values depend on each key's name, its shape, the seed and the gain alone (NumPy's PCG64), so they are the
same in every framework. `gain` scales the side convolutions; each golden file under data/goldens records the
seed and the gain that it was made with.
"""

import zlib

import numpy as np


def hard_weights(shapes: dict[str, tuple[int, ...]], seed: int, gain: float) -> dict[str, np.ndarray]:
    """Arrays for the given state-dict keys (upstream U²-Net names); float32, but int64 for num_batches_tracked."""
    out = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
        leaf = key.rsplit(".", 1)[-1]
        is_norm = ".bn_" in key
        if leaf == "num_batches_tracked":
            out[key] = np.array(1000, dtype=np.int64)
            continue
        if leaf == "running_mean":
            value = rng.normal(0.0, 0.2, shape)
        elif leaf == "running_var" or (is_norm and leaf == "weight"):
            value = rng.uniform(0.5, 1.5, shape)
        elif is_norm and leaf == "bias":
            value = rng.uniform(-0.3, 0.3, shape)
        elif leaf == "weight":
            fan_in = int(np.prod(shape[1:]))
            value = rng.normal(0.0, np.sqrt(2.0 / fan_in), shape)
            if key.startswith("side"):
                value *= gain
            elif key.startswith("outconv"):
                value = np.full(shape, 1.0 / np.sqrt(fan_in))
        else:
            value = rng.normal(0.0, 0.1, shape)
        out[key] = value.astype(np.float32)
    return out
