"""onnxruntime on CUDA, with TF32 on or off by name."""

import numpy as np

from u2net_zoo.errors import OptionError

from ..base import Predictor

__all__ = ["OnnxVariant"]


class OnnxVariant(Predictor):
    """The ONNX file `path` on CUDA; it is refused when onnxruntime would quietly take another provider.

    Args:
        tf32: let products round to 10 bits, which is onnxruntime's own default.
    """

    def __init__(self, path: str, tf32: bool = True):
        import onnxruntime

        provider = "CUDAExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise OptionError(f"onnxruntime was built without {provider}; it has: {_listed(onnxruntime)}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=[(provider, {"use_tf32": int(tf32)})])
        if self.session.get_providers()[0] != provider:
            raise OptionError(f"onnxruntime cannot use {provider} here and took {self.session.get_providers()[0]}")
        self.input = self.session.get_inputs()[0].name
        self.outputs = tuple(output.name for output in self.session.get_outputs())

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.outputs, self.session.run(None, {self.input: x}), strict=True))


def _listed(onnxruntime: object) -> str:
    return ", ".join(onnxruntime.get_available_providers())  # type: ignore[attr-defined]
