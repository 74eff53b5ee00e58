"""Torch in the ways that people run it: eager, folded, channels-last, compiled; on the CPU and on CUDA."""

from collections.abc import Callable
from typing import Any

import numpy as np

from u2net_zoo.errors import OptionError

from ..loading import read_source
from ..predictor import Predictor

__all__ = ["STEPS", "TorchVariant"]

STEPS = ("eager", "folded", "channels_last", "compiled")  # each does what the ones before it do, too
DTYPES = ("float32", "tf32", "float16", "bfloat16")


class TorchVariant(Predictor):
    """The weights of `path` in Torch. Answers the mask alone.

    Args:
        step: one of `STEPS`.
        dtype: one of `DTYPES`; `tf32` is float32 whose products round to 10 bits, on CUDA.
        device: Torch's name of it.
    """

    outputs = ("mask",)

    def __init__(self, path: str, step: str = "folded", dtype: str = "float32", device: str = "cpu"):
        import torch

        from u2net_zoo import torch_model

        if step not in STEPS or dtype not in DTYPES:
            raise OptionError(f"Torch variant {step}/{dtype}; allowed: {', '.join(STEPS)} and {', '.join(DTYPES)}")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise OptionError("CUDA: Torch finds no such device")
        self.torch, self.device = torch, torch.device(device)
        self.dtype = getattr(torch, "float32" if dtype == "tf32" else dtype)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        checkpoint, rank = read_source(path), STEPS.index(step)
        model = torch_model.build(
            checkpoint.fold() if rank >= 1 else checkpoint, outputs="mask", dtype=self.dtype, device=device
        )
        self.format = torch.channels_last if rank >= 2 else torch.contiguous_format
        model.to(memory_format=self.format)  # type: ignore[call-overload]
        self.model: Any = torch.compile(model) if rank >= 3 else model
        self.facts = {"device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"}

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        with self.torch.inference_mode():
            return {"mask": self.model(self._tensor(x)).float().cpu().numpy()}

    def timed(self, x: np.ndarray) -> Callable[[], None]:
        """One run on a tensor that lies on the device already; returns when it is done."""
        tensor = self._tensor(x)

        def run() -> None:
            with self.torch.inference_mode():
                self.model(tensor)
            if self.device.type == "cuda":
                self.torch.cuda.synchronize()

        return run

    @property
    def device_memory(self) -> int | None:
        """Bytes, the most that tensors took on the GPU so far; None on the CPU."""
        return self.torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def _tensor(self, x: np.ndarray) -> Any:
        tensor = self.torch.from_numpy(np.ascontiguousarray(x)).to(self.device, self.dtype)
        return tensor.to(memory_format=self.format)
