"""Networks for the tests of ML Programs, and their conversion with bare coremltools calls."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.mil_programs import ct

from converters.formats import coreml_reader
from converters.formats.weight_graph import Conv
from converters.mil import Package, constants

torch = pytest.importorskip("torch", reason="torch is not installed: there is nothing to convert")

from u2net_zoo import torch_model  # noqa: E402  after the skip
from u2net_zoo.arch import two_level  # noqa: E402
from u2net_zoo.checkpoint import Checkpoint  # noqa: E402

__all__ = ["SMALL", "AnySize", "MaskOnly", "Photo", "answer", "converted", "tiny_network"]

SMALL = (64, 96)


def converted(model, path: Path, shape=(1, 3, *SMALL), inputs=None, outputs=None, target=None, **options) -> Any:
    with torch.no_grad():
        traced = torch.jit.trace(model.eval(), torch.rand(1, *[int(n) for n in shape[1:]]), check_trace=False)
    program = ct.convert(
        traced,
        inputs=inputs or [ct.TensorType("image", shape=shape)],
        outputs=outputs or [ct.TensorType("mask")],
        minimum_deployment_target=target or ct.target.iOS16,
        skip_model_load=True,
        **{"compute_precision": ct.precision.FLOAT32, **options},
    )
    program.save(str(path))
    return program


class MaskOnly(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


def answer(network, x):
    with torch.inference_mode():
        return network(torch.from_numpy(np.ascontiguousarray(x)))[0].numpy()


# (encoder, decoder): a single block pools, upsamples, concatenates, adds and dilates as all of them do; with three
# stages the sides meet too, and a conversion takes four times as long.
STAGES = {
    "block": ([("4", 8, 16)], []),
    "stages": ([("4", 8, 16), ("4F", 8, 16), ("4F", 8, 16)], [("4F", 8, 16), ("4", 8, 16)]),
}


def tiny_network(stages: str) -> torch_model.U2Net:
    """A U²-Net of few blocks, a key of `STAGES`, for tests that convert more than once."""
    arch = two_level("tiny", *STAGES[stages]).fold()
    rng = np.random.default_rng(0)
    state = {key: rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5 for key, shape in arch.state_shapes().items()}
    return torch_model.build(Checkpoint.from_state(state, arch=arch))


class Factors(torch_model._TorchOps):
    """Upsampling by whole factors, so that the program fits every size."""

    def upsample(self, x, like):
        factor = int(like.shape[2]) // int(x.shape[2])
        return torch.nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    def block(self, block, x):
        return block.run(Factors(getattr(self.scope, block.path)), x)


class AnySize(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return torch.sigmoid(self.network.arch.run(Factors(self.network), x)[0])


class Photo(torch.nn.Module):
    """Pixels to pixels: 0..255 RGB in, a grey mask of 0..255 out."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))

    def forward(self, x):
        x = x / x.amax(dim=(1, 2, 3), keepdim=True)
        return self.network((x - self.mean) / self.std)[0] * 255


def convolutions(package: Package) -> list[Conv]:
    """Kernels and biases of a program, by its graph, as the reader sees them."""
    return coreml_reader.program(package.function, constants(package)).convolutions()
