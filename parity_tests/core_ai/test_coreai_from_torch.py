"""Assets that Apple's converter makes of Torch modules of other people: evaluated, or refused by name."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.data import ROOT, TESTS
from torch import nn

from converters.coreai import Asset
from converters.coreai.interpreter import Interpreter
from u2net_zoo.errors import ArtifactError

pytest.importorskip("coreai_torch", reason="needs Core AI's tools: Linux on x86-64, or macOS 26")


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def conv(*sizes: int, **how: int) -> nn.Conv2d:
    torch.manual_seed(sum(sizes))
    return nn.Conv2d(*sizes, **how)


X = torch.randn(1, 3, 15, 12, generator=torch.Generator().manual_seed(1))
MODULES = {
    "a batch norm behind a convolution": nn.Sequential(conv(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
    "a dilated convolution": nn.Sequential(conv(3, 8, 3, padding=4, dilation=4), nn.LeakyReLU(0.1)),
    "bilinear, half-pixel centres": Of(lambda x: F.interpolate(x, size=(31, 17), mode="bilinear")),
    "bilinear, aligned corners": Of(lambda x: F.interpolate(x, size=(31, 17), mode="bilinear", align_corners=True)),
    "a pooling of odd sizes": nn.MaxPool2d(2, 2, ceil_mode=True),
    "a pooling with padding": nn.MaxPool2d(3, 2, padding=1),
    "a function that is called": nn.Sequential(conv(3, 8, 3, stride=2, padding=1), nn.Hardswish()),
    "a sum of windows": nn.Sequential(nn.AvgPool2d(2), conv(3, 4, 1)),
    "the mean of a map": nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(3, 4, 1), nn.Sigmoid()),
    "each channel by itself": nn.Sequential(conv(3, 6, 3, padding=1, groups=3), nn.SiLU()),
    "min-max": Of(lambda x: (x - x.amin((1, 2, 3), keepdim=True)) / x.amax((1, 2, 3), keepdim=True)),
    "softmax": Of(lambda x: torch.softmax(x, 1)),
    "the largest class": Of(lambda x: x.argmax(1, keepdim=True).to(torch.int32)),
    "pieces": Of(lambda x: torch.cat([x[:, 1:], x[:, :1].flip(2)], 1)),
    "mirrored edges": nn.Sequential(nn.ReflectionPad2d(2), conv(3, 4, 5)),
    "a linear layer": nn.Sequential(nn.Flatten(), nn.Linear(540, 5)),
    "an instance norm": nn.InstanceNorm2d(3, affine=True),
    "channels moved into space": nn.Sequential(conv(3, 12, 3, padding=1), nn.PixelShuffle(2)),
    "a slope of its own": nn.PReLU(3),
}
REFUSED = {
    "conv_transpose2d_v1": nn.ConvTranspose2d(3, 4, 2, stride=2),
    "gelu_v1": nn.Sequential(conv(3, 4, 1), nn.GELU()),
}


def written(module: nn.Module, path: Path) -> Path:
    import coreai_torch

    program = torch.export.export(module.eval(), (X,)).run_decompositions(coreai_torch.get_decomp_table())
    converter = coreai_torch.TorchConverter()
    converter.add_exported_program(program, input_names=["x"], output_names=["y"]).to_coreai().save_asset(path)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_evaluated(name, tmp_path):
    asset = Asset.open(written(MODULES[name], tmp_path / "module.aimodel"))
    with torch.no_grad():
        meant = MODULES[name](X).numpy()
    found = Interpreter(asset).evaluate({"x": X.numpy()})["y"]
    assert found.shape == meant.shape
    # Grids are in the file as scales in float32: measured 3.1e-6 for aligned corners, Apple's own runtime 4.2e-6.
    np.testing.assert_allclose(found, meant, rtol=0, atol=5e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_an_operation_that_is_not_there_is_named(name, tmp_path):
    path = written(REFUSED[name], tmp_path / "module.aimodel")
    with pytest.raises(ArtifactError, match=f"operation '{name}' is not supported; there are: "):
        Interpreter(Asset.open(path))


WATCH = """
import sys
seen = []
names = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
sys.addaudithook(lambda event, args: seen.append((event, args)) if event in names else None)
import threading, coreai_torch
from support.networks import TINY, hard_checkpoint
from converters import FORMATS, Options
from pathlib import Path
fmt = FORMATS["coreai"]
fmt.write(hard_checkpoint(TINY), Path(sys.argv[1]), fmt.settle(Options(size=(32, 32))))
assert not seen, seen
kinds = [type(thread).__name__ for thread in threading.enumerate()]
assert set(kinds) <= {"_MainThread", "TMonitor"}, kinds  # tqdm watches its own progress bars
"""


def test_the_converter_calls_nobody_and_starts_nothing(tmp_path):
    """Python's own events; what its libraries do in C alone is not among them."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCH, str(tmp_path / "watched.aimodel")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "watched.aimodel").is_dir()
    assert done.stdout == ""
