"""`savedmodel`, from the folded Keras model; `--via onnx2tf` is the second, independent route."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo import keras_model
from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, OptionError, one_line
from u2net_zoo.limits import inside

from ..embedded import embedded_of, read_embedded
from ..format import Format, Lane
from ..options import DYNAMIC, Options
from ..predictor import Predictor
from ..tools import get_tool
from . import savedmodel_reader
from .keras_format import tap_layers
from .layout import NHWC, Layout, check_input
from .onnx2tf_route import convert_with_onnx2tf
from .tensorflow_embedding import tensorflow_function
from .tflite_runtime import order_outputs

__all__ = ["SavedModel", "TensorFlowFormat", "save_model"]

MARKER = "saved_model.pb"
NOTES = "assets.extra/u2zoo.json"  # TensorFlow's own place for what a model's maker adds
NOTES_LIMIT = 1 << 16  # bytes


class TensorFlowFormat(Format):
    """What both have: the second route."""

    def settle(self, asked: Options) -> Options:
        settled = super().settle(asked)
        if settled.via != "native":
            get_tool(str(settled.via)).check_python()
        return settled

    def check_image(self, chosen: Options) -> None:
        super().check_image(chosen)
        if chosen.via != "native":
            raise OptionError(f"--io image goes with --via native, not with {chosen.via}")


class SavedModel(TensorFlowFormat):
    name = "savedmodel"
    title = "TensorFlow SavedModel"
    suffix = "_savedmodel"
    unit_bytes, writing_seconds = 7600, 9
    is_folder = True
    marker = MARKER
    extra = "savedmodel"
    packages = ("torch", "tensorflow", "tf_keras")
    running = ("tensorflow",)
    lanes = (Lane("TensorFlow"),)
    choices = {
        "batch": (DYNAMIC,),
        "precision": ("fp32",),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "via": ("native", "onnx2tf"),
    }

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        if options.via == "onnx2tf":
            convert_with_onnx2tf(checkpoint, path, options, tflite=False)
        else:
            save_model(checkpoint, path, options)

    def open(self, path: Path) -> Predictor:
        return _SavedModelRuntime(path)

    def read(self, path: Path) -> Checkpoint:
        return savedmodel_reader.read(path)


def save_model(checkpoint: Checkpoint, path: Path, options: Options) -> None:
    """Signature `serving_default`: `image` (N, H, W, C) float32 in, a dict of named maps out; `model(image)` too."""
    import tensorflow as tf

    keras_model.load_keras_module("tf_keras")
    outputs = options.outputs or "mask"
    model = keras_model.build(checkpoint.fold(), size=options.size, outputs=outputs, module="tf_keras")
    names = model.output_names
    embedded = embedded_of(checkpoint.arch, options)

    def answers(image: Any) -> Any:
        return model(image, training=False)

    run = tensorflow_function(answers, embedded) if embedded else answers
    shape = (options.batch or None, *(options.size or ()), checkpoint.arch.in_ch)
    spec = tf.TensorSpec(shape, tf.uint8 if embedded else tf.float32, name="image")

    class Served(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.variables  # tracked as plain variables: no Keras metadata goes into the file

        @tf.function(input_signature=[spec])
        def __call__(self, image: Any) -> dict[str, Any]:
            maps = run(image)
            return dict(zip(names, maps if isinstance(maps, list) else [maps], strict=True))

    served = Served()
    tf.saved_model.save(served, str(path), signatures={"serving_default": served.__call__})
    if embedded:
        extra = path / NOTES
        extra.parent.mkdir()
        extra.write_bytes(json.dumps(embedded.to_metadata()).encode())


def _read_notes(path: Path) -> dict[str, str]:
    """What a SavedModel says of itself beside its graph; empty when it says nothing, or nothing that can be read."""
    try:
        file = inside(path, NOTES)
        found = json.loads(file.read_bytes()) if file.is_file() and file.stat().st_size < NOTES_LIMIT else {}
    except (CheckpointError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _SavedModelRuntime(Predictor):
    concurrent = True

    def __init__(self, path: Path):
        savedmodel_reader.check_ops(path)
        import tensorflow as tf

        try:
            self.loaded = tf.saved_model.load(str(path))
            self.signature = self.loaded.signatures["serving_default"]
        except Exception as error:  # TensorFlow raises OSError, ValueError, KeyError and its own for damage
            raise ArtifactError(f"{path}: TensorFlow cannot load it ({one_line(error)})") from None
        given = list(self.signature.structured_input_signature[1].items())
        if len(given) != 1:
            raise ArtifactError(f"{path}: has {len(given)} inputs; a U²-Net has one")
        ((self.input, spec),) = given
        self.embedded = read_embedded(_read_notes(path))
        if spec.dtype != (tf.uint8 if self.embedded else tf.float32):
            raise ArtifactError(f"{path}: takes {spec.dtype.name}; expected {'uint8' if self.embedded else 'float32'}")
        shape = tuple(spec.shape or ())
        self.layout = Layout.of(shape, NHWC)
        self.batch, self.size = self.layout.sizes(shape, path)
        self.channels = self.layout.channels(shape)
        self.outputs = order_outputs(self.signature.structured_outputs)

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        import tensorflow as tf

        check_input(self, x)
        maps = self.signature(**{self.input: tf.constant(self.layout.given(x))})
        return {name: self.layout.answered(np.asarray(maps[name])) for name in self.outputs}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        frozen = convert_variables_to_constants_v2(self.signature)
        tensors = {op.name: op.outputs[0] for op in frozen.graph.get_operations() if op.outputs}
        wanted = {}
        for path, layer in tap_layers(arch):
            ends = (f"/{layer}/Relu", f"/{layer}/BiasAdd")
            found = [tensor for name, tensor in tensors.items() if f"/{name}".endswith(ends)]
            wanted.update({path: found[0]} if found else {})
        inside = frozen.prune(frozen.inputs, list(wanted.values()))
        values = inside(tf.constant(self.layout.given(x)))
        return iter([(path, self.layout.nchw(np.asarray(value))) for path, value in zip(wanted, values, strict=True)])
