"""`keras` (Keras 3) and `h5` (written by Keras 2, the one file that Keras 2 and 3 both open)."""

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo import keras_model
from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Signature
from u2net_zoo.errors import ArtifactError, one_line
from u2net_zoo.system import scratch_folder
from u2net_zoo.weight_map import layer_name

from ..format import Format
from ..options import DYNAMIC, Options
from ..predictor import Predictor
from ..torch_predictor import TorchPredictor
from . import keras_config, keras_reader, keras_runtime
from .layout import NHWC, Layout, check_input

__all__ = ["H5", "Keras", "KerasPredictor", "tap_layers"]

LOADERS = {"keras": "Keras 3", "tf_keras": "Keras 2"}
EAGER = 4  # calls; building the graph takes TensorFlow 3 s for u2netp and saves 0.3 to 0.7 s of each later call


class _KerasFile(Format):
    module: str
    loaders: tuple[str, ...]
    choices = {
        "batch": (DYNAMIC,),
        "precision": ("fp32",),
        "outputs": ("mask", "all"),
        "io": ("tensor",),
        "via": ("native",),
    }

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        keras_model.load_keras_module(self.module)
        model = keras_model.build(
            checkpoint,
            size=options.size,
            batch=options.batch or None,
            outputs=options.outputs or "mask",
            module=self.module,
        )
        self.save(model, path)

    def save(self, model: Any, path: Path) -> None:
        model.save(path)

    def open(self, path: Path) -> Predictor:
        if not keras_config.check_layers(path):
            checkpoint = self.read(path)
            checkpoint.warn(path)
            return TorchPredictor(checkpoint, fold=True)
        failed = []
        for module in self.loaders:
            try:
                return KerasPredictor(_loaded(path, module, self.suffix), path)
            except (ArtifactError, MemoryError):
                raise
            except Exception as error:  # h5py, zipfile, json and Keras each raise their own for damage
                failed.append(f"{LOADERS[module]}: {one_line(error)}")
        raise ArtifactError(f"{path}: Keras cannot load it ({'; '.join(failed)})")


class Keras(_KerasFile):
    name = "keras"
    title = "Keras 3"
    suffix = ".keras"
    unit_bytes, writing_seconds = 14000, 10
    signature = Signature(members=("model.weights.h5", "config.json"))
    extra = "keras"
    packages = ("torch", "keras", "tensorflow")
    running = ("keras", "tensorflow")
    module = "keras"
    loaders = ("keras",)

    def read(self, path: Path) -> Checkpoint:
        return keras_reader.read_keras(path)

    def read_as(self, path: Path, key: str | None, blocks: str | None) -> Checkpoint:
        return super().read_as(path, key, None) if key or not blocks else keras_reader.read_keras(path, blocks)


class H5(_KerasFile):
    name = "h5"
    title = "Keras HDF5"
    suffix = ".h5"
    unit_bytes, writing_seconds = 11000, 10
    also = (".hdf5",)
    signature = Signature(re.compile(rb"\x89HDF\r\n\x1a\n"))
    extra = "h5"
    packages = ("torch", "tf_keras", "tensorflow", "h5py")
    running = ("tensorflow", "tf_keras", "h5py")
    module = "tf_keras"
    loaders = ("tf_keras", "keras")  # a file by Keras 3 does not load in Keras 2; the other way round it mostly does

    def save(self, model: Any, path: Path) -> None:
        import h5py

        buffer = io.BytesIO()  # on a full disk HDF5 itself ends the process; in memory it cannot
        with h5py.File(buffer, "w") as file:
            model.save(file, save_format="h5")
        path.write_bytes(buffer.getbuffer())

    def read(self, path: Path) -> Checkpoint:
        return keras_reader.read_h5(path)

    def read_as(self, path: Path, key: str | None, blocks: str | None) -> Checkpoint:
        return super().read_as(path, key, None) if key or not blocks else keras_reader.read_h5(path, blocks)


def _loaded(path: Path, module: str, suffix: str) -> Any:
    """The model. Keras goes by a file's ending, so that one with another is loaded as a copy that has `suffix`."""
    keras = keras_model.load_keras_module(module)
    keras_model.resize_like(module)
    options = {"safe_mode": True} if module == "keras" else {}
    if path.suffix == suffix:
        return keras.models.load_model(path, compile=False, **options)
    with scratch_folder() as folder:
        copy = shutil.copy(path, Path(folder, f"model{suffix}"))
        return keras.models.load_model(copy, compile=False, **options)


class KerasPredictor(Predictor):
    """A loaded `keras.Model` or `tf_keras.Model`: eager at first, one graph when many pictures come."""

    def __init__(self, model: Any, path: Path):
        self.model = model
        self.run, self.runs = keras_runtime.eager(model), 0
        self.layout = Layout.of(model.input_shape, NHWC)
        self.batch, self.size = self.layout.sizes(model.input_shape, path)
        self.channels = self.layout.channels(model.input_shape)
        self.outputs = tuple(model.output_names)

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        if self.runs == EAGER:
            self.run = keras_runtime.compiled(self.model)
        self.runs += 1
        maps = self.run(self.layout.given(x))
        maps = maps if isinstance(maps, list | tuple) else [maps]
        arrays = [keras_runtime.to_numpy(m) for m in maps]
        return {name: self.layout.answered(m) for name, m in zip(self.outputs, arrays, strict=True)}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        known = {layer.name for layer in self.model.layers}
        keras = keras_model.load_keras_module("tf_keras" if "tf_keras" in type(self.model).__module__ else "keras")
        wanted = {path: self.model.get_layer(layer).output for path, layer in tap_layers(arch) if layer in known}
        if not self.layout.channels_last or not wanted:
            return iter(())
        inside = keras.Model(self.model.inputs, list(wanted.values()))
        values = inside(self.layout.given(x), training=False)
        return iter(
            [
                (path, self.layout.nchw(keras_runtime.to_numpy(value)))
                for path, value in zip(wanted, values, strict=True)
            ]
        )


def tap_layers(arch: Architecture) -> Iterator[tuple[str, str]]:
    """(unit path, Keras layer that holds its activation)."""
    for unit in arch.units():
        yield unit.path, layer_name(f"{unit.path}.relu_s1" if unit.relu else unit.path)
