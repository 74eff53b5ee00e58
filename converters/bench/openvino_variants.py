"""OpenVINO at a precision that is asked for by name."""

from pathlib import Path

import numpy as np

from ..base import Predictor

__all__ = ["OpenVINOVariant"]


class OpenVINOVariant(Predictor):
    """The IR folder `path`, compiled for the CPU with `precision` (`f32` or `bf16`) as the hint."""

    outputs = ("mask",)

    def __init__(self, path: str, precision: str = "bf16"):
        import openvino

        xml = Path(path) / "model.xml" if Path(path).is_dir() else Path(path)
        self.model = openvino.Core().compile_model(str(xml), "CPU", {"INFERENCE_PRECISION_HINT": precision})

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"mask": np.array(self.model([np.ascontiguousarray(x)])[0])}
