"""onnxruntime on CUDA, with TF32 on or off by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import OptionError

from ..formats.layout import check_input
from ..formats.onnx_providers import PROVIDERS, check_taken, lacking, preload
from ..formats.onnx_reports import unreported_onnxruntime
from ..formats.onnx_runtime import CPU, Runtime

__all__ = ["OnnxVariant"]

CUDA = PROVIDERS["cuda"].names[0]


class OnnxVariant(Runtime):
    """The ONNX file `path` on CUDA; it is refused when onnxruntime would quietly take another provider.

    Args:
        tf32: let products round to 10 bits, which is onnxruntime's own default.
        device: onnxruntime's name of it, `cuda` or `cpu`.
    """

    def __init__(self, path: str, tf32: bool = True, device: str = "cuda"):
        self.device = device
        if device == "cuda":
            _require_cuda()
        super().__init__(Path(path), [(CUDA, {"use_tf32": int(tf32)})] if device == "cuda" else CPU)
        if device == "cuda":
            check_taken(self.session, device, CUDA)

    def timed(self, x: np.ndarray) -> Callable[[], None]:
        """One run on a tensor that lies on the device already, as do the answers; returns when they are computed."""
        binding = self.bound(x)

        def run() -> None:
            self.session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return run

    def bound(self, x: np.ndarray) -> Any:
        """onnxruntime's IOBinding of `x`, copied to the device, and of answers that stay there."""
        onnxruntime = unreported_onnxruntime()
        check_input(self, x)
        given = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(self.laid_out(x)), self.device, 0)
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self.session.get_inputs()[0].name, given)
        for name in self.outputs:
            binding.bind_output(name, self.device, 0)
        return binding


def _require_cuda() -> None:
    """Raises OptionError: this onnxruntime has no CUDA."""
    if why := lacking("cuda"):
        raise OptionError(why)
    preload()
