"""OpenVINO at a precision that is asked for by name."""

from pathlib import Path

import numpy as np

from u2net_zoo.errors import OptionError

from ..formats.openvino_reports import unreported
from ..predictor import Predictor

__all__ = ["OpenVINOVariant"]


class OpenVINOVariant(Predictor):
    """The IR folder `path`, compiled for the CPU with `precision` (`f32` or `bf16`) as the hint."""

    outputs = ("mask",)

    def __init__(self, path: str, precision: str = "bf16"):
        with unreported():
            import openvino

        xml = Path(path) / "model.xml" if Path(path).is_dir() else Path(path)
        self.model = openvino.Core().compile_model(str(xml), "CPU", {"INFERENCE_PRECISION_HINT": precision})

        taken = self.model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if taken != precision:
            raise OptionError(f"OpenVINO computes in {taken} on this processor, not in {precision}")

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"mask": np.array(self.model([np.ascontiguousarray(x)])[0])}
