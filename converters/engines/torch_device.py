"""Torch on a GPU, and why it has none."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.devices import CPU
from u2net_zoo.errors import OptionError

from ..predictor import TOGETHER
from ..torch_predictor import TorchPredictor

__all__ = ["DEVICES", "TorchOnDevice", "lacking"]

WHEELS = "install the wheel of Torch for {} that pytorch.org names"
DEVICES: Mapping[str, str] = {CPU: "", "cuda": WHEELS.format("CUDA"), "rocm": WHEELS.format("ROCm")}


def lacking(device: str) -> str:
    """Why Torch, which is installed, has no such device; empty where it has."""
    torch = importlib.import_module("torch")
    built = {"cuda": torch.version.cuda, "rocm": torch.version.hip}[device]
    if not built:
        return f"torch {torch.__version__} was built without {device.upper()}; {DEVICES[device]}"
    if not torch.cuda.is_available():  # Torch's name for both
        return f"torch {torch.__version__} finds no {device.upper()} device; look at its driver"
    return ""


class TorchOnDevice(TorchPredictor):
    """The folded network on a GPU, in float32 without TF32: one call at a time, of several photographs.

    Raises:
        OptionError: Torch has no such device here.
    """

    concurrent = False

    def __init__(self, checkpoint: Checkpoint, device: str):
        super().__init__(checkpoint, fold=True)
        if why := lacking(device):
            raise OptionError(f"--device {device}: {why}")
        self.together = TOGETHER
        self.model.to("cuda")

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        torch: Any = self.torch
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            maps = self.model(torch.from_numpy(np.ascontiguousarray(x)).to("cuda", self.dtype))
        return {name: m.cpu().numpy() for name, m in zip(self.outputs, maps, strict=True)}
