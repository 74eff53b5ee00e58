"""All formats, in the order in which people see them. A new format is one line here; its file is imported when used."""

import functools
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .format import Format

__all__ = ["ENGINES", "FORMATS"]

# Formats in whose runtime weights may run without being asked for by name, where it is the fastest; see `engines`.
ENGINES = ("onnx", "openvino", "mnn")


class _Registry(Mapping[str, "Format"]):
    """Name to format. Knows the names at once, imports a format's file when it is asked for."""

    def __init__(self, **places: str):
        self._places = places
        self._load = functools.cache(self._import)

    def _import(self, name: str) -> "Format":
        module, kind = self._places[name].split(":")
        return getattr(import_module(f".{module}", __package__), kind)()

    def __getitem__(self, name: str) -> "Format":
        return self._load(name)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


FORMATS = _Registry(
    pth="formats.torch_weights:Pth",
    safetensors="formats.torch_weights:Safetensors",
    onnx="formats.onnx_format:Onnx",
    keras="formats.keras_format:Keras",
    h5="formats.keras_format:H5",
    savedmodel="formats.tensorflow_format:SavedModel",
    tflite="formats.tflite_format:TFLite",
    coreml="formats.coreml_format:CoreML",
    mlmodel="formats.mlmodel_format:MLModel",
    coreai="formats.coreai_format:CoreAI",
    torchscript="formats.torch_export:TorchScript",
    pt2="formats.torch_export:PT2",
    openvino="formats.openvino_format:OpenVINO",
    ncnn="formats.ncnn_format:Ncnn",
    mnn="formats.mnn_format:Mnn",
    executorch="formats.executorch_format:ExecuTorch",
    web="formats.web:Web",
)
