"""The Keras model on whichever backend this process has, against Torch in float64; and a process for each backend."""

import os
import subprocess
import sys

import numpy as np
from support.data import SEARCHED
from support.goldens import recorded
from support.networks import hard_checkpoint

from u2net_zoo import keras_model
from u2net_zoo.arch import Architecture

BACKENDS = ("tensorflow", "jax", "torch")


def on_backend(backend: str, statement: str) -> None:
    """Runs a line of Python that may use this module's names, in a process of that backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": SEARCHED}
    told = f"import keras; assert keras.backend.backend() == {backend!r}"
    script = f"{told}\nfrom support import networks, training\nfrom support.keras_backends import *\n{statement}"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def answers(model, x: np.ndarray) -> list[np.ndarray]:
    """Of a plain call `model(x)`, which must not take it for training. x, results: NCHW."""
    maps = model(x.transpose(0, 2, 3, 1))
    maps = [m.detach().cpu().numpy() if hasattr(m, "detach") else np.asarray(m) for m in maps]
    return [m.transpose(0, 3, 1, 2) for m in maps]


def agrees_with_torch(arch: Architecture, *sizes: tuple[int, int] | None) -> None:
    """At each size, the second call too; None: a model of any size. The weights come back bit for bit."""
    import torch

    from u2net_zoo import torch_model

    checkpoint = hard_checkpoint(arch)
    for size in sizes:
        x = np.random.default_rng(0).standard_normal((2, 3, *(size or (70, 41)))).astype(np.float32)
        with torch.inference_mode():
            exact, single = (
                [m.numpy() for m in torch_model.build(checkpoint, dtype=dtype)(torch.from_numpy(x).to(dtype))]
                for dtype in (torch.float64, torch.float32)
            )
        model = keras_model.build(checkpoint, size=size)
        for results in (answers(model, x), answers(model, x)):
            for result, expected, float32 in zip(results, exact, single, strict=True):
                error, noise = (np.abs(r - expected).max() for r in (result, float32))
                assert error <= 3 * noise + 1e-6, (size, error, noise)
    back = keras_model.state_of(model, checkpoint.arch)
    assert all(back.state[key].tobytes() == checkpoint.state[key].tobytes() for key in back.state)


def answers_the_figures(name: str) -> None:
    """Of `goldens`, at 96x128, and at 65x47 in a batch of two, by one model."""
    golden = recorded(name)
    model = keras_model.build(golden.checkpoint)
    for i in (0, 1):
        results = dict(zip(golden.arch.outputs, answers(model, golden.input(i)), strict=True))
        assert golden.beyond(i, results) == {}
