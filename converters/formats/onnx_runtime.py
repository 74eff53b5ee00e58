"""An ONNX file in onnxruntime."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import ArtifactError, one_line
from u2net_zoo.system import processors

from ..embedded import read_embedded, read_precision, read_takes
from ..predictor import TOGETHER, Predictor
from . import onnx_reader
from .layout import NCHW, Layout, check_input
from .onnx_providers import PROVIDERS, check_taken, preload
from .onnx_reports import unreported_onnxruntime

__all__ = ["CPU", "OnDevice", "Runtime"]

CPU = ("CPUExecutionProvider",)
FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
QUANTISERS = ("QuantizeLinear", "DynamicQuantizeLinear")


class Runtime(Predictor):
    """An ONNX model in onnxruntime.

    Args:
        path: its file.
        providers: onnxruntime's names, with options where they have some.
    """

    concurrent = True

    def __init__(self, path: Path, providers: Sequence[Any] = CPU):
        onnxruntime = unreported_onnxruntime()
        self.model, self.providers = str(path), list(providers)
        self.options = options = self.session_options()
        try:
            self.session = onnxruntime.InferenceSession(self.model, options, providers=self.providers)
        except Exception as error:  # onnxruntime raises types of its own for every kind of damage
            raise ArtifactError(f"{path}: onnxruntime cannot load it ({one_line(error)})") from None
        given = self.session.get_inputs()
        words = self.session.get_modelmeta().custom_metadata_map
        self.embedded, self.precision = read_embedded(words), read_precision(words)
        self.stated = read_takes(words)
        allowed = ("tensor(uint8)",) if self.embedded else (*FLOATS, "tensor(uint8)")
        if len(given) != 1 or given[0].type not in allowed:
            kinds = ", ".join(f"{item.name} {item.type}" for item in given) or "none"
            raise ArtifactError(f"{path}: its inputs are {kinds}; one of {' or '.join(allowed)} is needed")
        self.bytes = given[0].type == "tensor(uint8)"  # without a profile: pixels in 0..255, which are rounded
        self.dtype = FLOATS.get(given[0].type, np.float32)  # answers of the same type are float32 outside
        self.layout = Layout.of(given[0].shape, NCHW)
        self.batch, self.size = self.layout.sizes(given[0].shape, path)
        self.channels = self.layout.channels(given[0].shape)
        answers = self.session.get_outputs()
        if self.embedded is None and any(answer.type == "tensor(uint8)" for answer in answers):
            raise ArtifactError(f"{path}: answers pictures, and does not say which profile is in its graph")
        self.outputs = tuple(answer.name for answer in answers)

    def session_options(self) -> Any:
        """onnxruntime's, for every session of this file."""
        onnxruntime = unreported_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return options

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        name = self.session.get_inputs()[0].name
        maps = self.session.run(None, {name: self.laid_out(x)})
        return {name: self.layout.answered(_wide(m)) for name, m in zip(self.outputs, maps, strict=True)}

    def share(self, lanes: int) -> int:
        """Each call on its part of the processors: the results are the same, and nobody waits for the others' threads.

        On two processors, 18 photographs and u2netp took a sixth less processor time than with both in each call.
        """
        onnxruntime = unreported_onnxruntime()
        self.options.intra_op_num_threads = max(1, processors() // lanes)
        # threads that wait by spinning would take the processors from those who decode
        self.options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(self.model, self.options, providers=self.providers)
        return lanes

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        x = np.rint(x).clip(0, 255).astype(np.uint8) if self.bytes else x.astype(self.dtype, copy=False)
        return self.layout.given(x)

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which the units run, each behind its norm and its ReLU."""
        import onnx

        onnxruntime = unreported_onnxruntime()
        values = onnx_reader.activations(Path(self.model))
        model = onnx.load(self.model)
        if any(node.op_type in QUANTISERS for node in model.graph.node):
            return iter(())  # its maps are rounded everywhere, ours equalised too: none is where a fault begins
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)  # onnxruntime works out the types
        session = onnxruntime.InferenceSession(model.SerializeToString(), self.options, providers=self.providers)
        results = session.run(values, {session.get_inputs()[0].name: self.laid_out(x)})
        return iter([(unit.path, value.astype(np.float32)) for unit, value in zip(arch.units(), results, strict=False)])


class OnDevice(Runtime):
    """An ONNX file on a device of `PROVIDERS`; refused where onnxruntime would quietly run it on the processor.

    One call at a time, of several photographs where the file takes any batch: DirectML allows no two.
    """

    concurrent = False

    def __init__(self, model: Path, device: str):
        self.device, provider = device, PROVIDERS[device]
        name = provider.here or provider.names[0]
        preload()
        super().__init__(model, [(name, dict(provider.options)), *CPU])
        check_taken(self.session, device, name)
        self.together = TOGETHER if self.batch is None else 1

    def session_options(self) -> Any:
        options = super().session_options()
        options.enable_mem_pattern = self.device != "directml"  # which cannot have it
        return options

    def share(self, lanes: int) -> int:
        return 1


def _wide(answer: np.ndarray) -> np.ndarray:
    return answer.astype(np.float32) if answer.dtype == np.float16 else answer
