"""`savedmodel` and `tflite`, both from the folded Keras model; `--via onnx2tf` is the second, independent route."""

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

from . import savedmodel_reader, tflite_reader
from .baking import baking_of, notes_of, read_baking, read_precision, tensorflow_function
from .base import DYNAMIC, Format, MaskBound, Options, Predictor
from .keras_formats import tap_layers
from .layout import channels_first, check_input, from_last, input_layout, is_channels_first
from .memory import release_memory
from .quantise.plan import Plan, plan_weights
from .quantise.tflite_weights import stored
from .tflite_notes import notes, with_notes
from .via_onnx2tf import convert_with_onnx2tf

__all__ = ["SavedModel", "TFLite"]

MARKER = "saved_model.pb"
NOTES = "assets.extra/u2zoo.json"  # TensorFlow's own place for what a model's maker adds
NOTES_LIMIT = 1 << 16  # bytes


class SavedModel(Format):
    name = "savedmodel"
    title = "TensorFlow SavedModel"
    suffix = "_savedmodel"
    is_folder = True
    marker = MARKER
    extra = "savedmodel"
    packages = ("torch", "tensorflow", "tf_keras")
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
            _save(checkpoint, path, options)

    def run(self, path: Path) -> Predictor:
        return _SavedModelRuntime(path)

    def read(self, path: Path) -> Checkpoint:
        return savedmodel_reader.read(path)


class TFLite(Format):
    name = "tflite"
    title = "TFLite"
    suffix = ".tflite"
    extra = "tflite"
    packages = ("torch", "tensorflow", "tf_keras", "ai_edge_litert")
    choices = {
        "batch": (1,),
        "precision": ("fp32", "fp16", "int8"),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "via": ("native", "onnx2tf"),
    }
    # int8 measured on u2netp and 18 photographs that are not calibrated on, 2026-11-21: 0.9928, worst 0.9807, 0.0016.
    bounds = {
        "fp16": MaskBound(iou=0.990, worst=0.975, mae=0.003),
        "int8": MaskBound(iou=0.990, worst=0.975, mae=0.005),
    }

    def settle(self, asked: Options) -> Options:
        settled = super().settle(asked)
        if settled.precision == "int8" and settled.via != "native":
            raise OptionError("--precision int8 goes with --via native")
        return settled

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        plan = None
        if options.precision == "int8":
            plan = plan_weights(checkpoint, options, self.bounds["int8"], half=False)
            checkpoint = plan.checkpoint
        if options.via == "onnx2tf":
            convert_with_onnx2tf(checkpoint, path, options, tflite=True)
            return None
        import tensorflow as tf

        saved = path.parent / "savedmodel"
        _save(checkpoint, saved, options)
        release_memory()  # the Keras model, whose cycles would live through the conversion
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=["serving_default"])
        converter.exclude_conversion_metadata = True  # it would unpack and pack the whole file once more
        if options.precision == "fp16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
        content = stored(content) if plan else content
        words = notes_of(options, baking_of(checkpoint.arch, options))
        path.write_bytes(with_notes(content, words) if words else content)
        return plan

    def run(self, path: Path) -> Predictor:
        return _TFLiteRuntime(path)

    def read(self, path: Path) -> Checkpoint:
        return tflite_reader.read(path)


def _save(checkpoint: Checkpoint, path: Path, options: Options) -> None:
    """Signature `serving_default`: `image` (N, H, W, C) float32 in, a dict of named maps out; `model(image)` too."""
    import tensorflow as tf

    keras_model.load_keras_module("tf_keras")
    outputs = options.outputs or "mask"
    model = keras_model.build(checkpoint.fold(), size=options.size, outputs=outputs, module="tf_keras")
    names = model.output_names
    baking = baking_of(checkpoint.arch, options)

    def answers(image: Any) -> Any:
        return model(image, training=False)

    run = tensorflow_function(answers, baking) if baking else answers
    shape = (options.batch or None, *(options.size or ()), checkpoint.arch.in_ch)
    spec = tf.TensorSpec(shape, tf.uint8 if baking else tf.float32, name="image")

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
    if baking:
        extra = path / NOTES
        extra.parent.mkdir()
        extra.write_text(json.dumps(baking.to_metadata()), encoding="utf-8")


def _notes(path: Path) -> dict[str, str]:
    """What a SavedModel says of itself beside its graph; empty when it says nothing, or nothing that can be read."""
    try:
        file = inside(path, NOTES)
        found = json.loads(file.read_bytes()) if file.is_file() and file.stat().st_size < NOTES_LIMIT else {}
    except (CheckpointError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _SavedModelRuntime(Predictor):
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
        self.baking = read_baking(_notes(path))
        if spec.dtype != (tf.uint8 if self.baking else tf.float32):
            raise ArtifactError(f"{path}: takes {spec.dtype.name}; expected {'uint8' if self.baking else 'float32'}")
        shape = tuple(spec.shape or ())
        self.planar = is_channels_first(shape)  # as another maker's may
        self.batch, self.size = input_layout(shape, path, channels_last=not self.planar)
        self.outputs = _ordered(self.signature.structured_outputs)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        import tensorflow as tf

        check_input(self, x)
        maps = self.signature(**{self.input: tf.constant(x if self.planar else x.transpose(0, 2, 3, 1))})
        return {name: channels_first(np.asarray(maps[name]), not self.planar) for name in self.outputs}

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
        values = inside(tf.constant(x.transpose(0, 2, 3, 1)))
        return iter([(path, from_last(np.asarray(value))) for path, value in zip(wanted, values, strict=True)])


class _TFLiteRuntime(Predictor):
    def __init__(self, path: Path):
        self.path = path
        self.interpreter = self._load()
        self.runner = self._runner(self.interpreter)
        given = list(self.runner.get_input_details().items())
        if len(given) != 1:
            raise ArtifactError(f"{path}: has {len(given)} inputs; a U²-Net has one")
        ((self.input, detail),) = given
        shape = [int(n) for n in detail["shape"]]
        words = notes(np.memmap(path, mode="r"))
        self.baking, self.precision = read_baking(words), read_precision(words)
        wanted = np.uint8 if self.baking else np.float32
        if len(shape) != 4 or detail["dtype"] is not wanted:
            got = f"{detail['dtype'].__name__} of shape {shape}"
            raise ArtifactError(f"{path}: takes {got}; expected {wanted.__name__} pictures")
        self.planar = is_channels_first(shape)  # as another maker's may
        self.batch, self.size = input_layout(shape, path, channels_last=not self.planar)
        self.outputs = _ordered(self.runner.get_output_details())

    def _load(self, **options: Any) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(str(self.path), **options)
            interpreter.allocate_tensors()
        except Exception as error:  # a damaged flatbuffer raises ValueError, RuntimeError or TypeError
            raise ArtifactError(f"{self.path}: TFLite cannot load it ({one_line(error)})") from None
        return interpreter

    def _runner(self, interpreter: Any) -> Any:
        signatures = interpreter.get_signature_list()
        return interpreter.get_signature_runner(next(iter(signatures))) if signatures else _Unsigned(interpreter)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        maps = self.runner(**{self.input: x if self.planar else np.ascontiguousarray(x.transpose(0, 2, 3, 1))})
        return {name: channels_first(maps[name], not self.planar) for name in self.outputs}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which the units run, each behind its ReLU."""
        interpreter = self._load(experimental_preserve_all_tensors=True)
        given = x if self.planar else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        self._runner(interpreter)(**{self.input: given})
        for unit, index in zip(arch.units(), tflite_reader.activations(self.path), strict=False):
            yield unit.path, from_last(interpreter.get_tensor(index))


class _Unsigned:
    """An interpreter of a file without signatures, called as a signature's runner is."""

    def __init__(self, interpreter: Any):
        self.interpreter = interpreter

    def get_input_details(self) -> dict[str, Any]:
        return {detail["name"]: detail for detail in self.interpreter.get_input_details()}

    def get_output_details(self) -> dict[str, Any]:
        return {detail["name"]: detail for detail in self.interpreter.get_output_details()}

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        for name, detail in self.get_input_details().items():
            self.interpreter.set_tensor(detail["index"], inputs[name])
        self.interpreter.invoke()
        outputs = self.get_output_details().items()
        return {name: self.interpreter.get_tensor(detail["index"]) for name, detail in outputs}


def _ordered(names: Any) -> tuple[str, ...]:
    """`mask, side1, side2 …`: signatures come back sorted or hashed."""
    return tuple(sorted(names, key=lambda name: (name != "mask", len(name), name)))
