"""`keras` (Keras 3) and `h5` (written by Keras 2, the one file that Keras 2 and 3 both open)."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo import keras_model
from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, one_line
from u2net_zoo.weight_map import layer_name

from . import keras_reader, keras_running
from .base import DYNAMIC, Format, Options, Predictor
from .layout import channels_first, check_input, from_last, input_layout, is_channels_first

__all__ = ["H5", "Keras", "KerasPredictor", "tap_layers"]

EAGER = 4  # calls; building the graph takes TensorFlow 3 s for u2netp and saves 0.3 to 0.7 s of each later call


class _KerasFile(Format):
    module: str
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

    def run(self, path: Path) -> Predictor:
        keras_reader.check_layers(path)
        keras = keras_model.load_keras_module(self.module)
        keras_model.resize_like(self.module)
        try:
            options = {"safe_mode": True} if self.module == "keras" else {}
            model = keras.models.load_model(path, compile=False, **options)
        except Exception as error:  # h5py, zipfile, json and Keras each raise their own for damage
            raise ArtifactError(f"{path}: Keras cannot load it ({one_line(error)})") from None
        return KerasPredictor(model, path)


class Keras(_KerasFile):
    name = "keras"
    title = "Keras 3"
    suffix = ".keras"
    extra = "keras"
    packages = ("torch", "keras", "tensorflow")
    module = "keras"

    def read(self, path: Path) -> Checkpoint:
        return keras_reader.read_keras(path)


class H5(_KerasFile):
    name = "h5"
    title = "Keras HDF5"
    suffix = ".h5"
    also = (".hdf5",)
    extra = "h5"
    packages = ("torch", "tf_keras", "tensorflow", "h5py")
    module = "tf_keras"

    def save(self, model: Any, path: Path) -> None:
        import h5py

        buffer = io.BytesIO()  # on a full disk HDF5 itself ends the process; in memory it cannot
        with h5py.File(buffer, "w") as file:
            model.save(file, save_format="h5")
        path.write_bytes(buffer.getbuffer())

    def read(self, path: Path) -> Checkpoint:
        return keras_reader.read_h5(path)


class KerasPredictor(Predictor):
    """A loaded `keras.Model` or `tf_keras.Model`: eager at first, one graph when many pictures come."""

    def __init__(self, model: Any, path: Path):
        self.model = model
        self.run, self.runs = keras_running.eager(model), 0
        self.planar = is_channels_first(model.input_shape)  # as another maker's may
        self.batch, self.size = input_layout(model.input_shape, path, channels_last=not self.planar)
        self.outputs = tuple(model.output_names)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        if self.runs == EAGER:
            self.run = keras_running.compiled(self.model)
        self.runs += 1
        maps = self.run(x if self.planar else np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        maps = maps if isinstance(maps, list | tuple) else [maps]
        arrays = [keras_running.to_numpy(m) for m in maps]
        return {name: channels_first(m, not self.planar) for name, m in zip(self.outputs, arrays, strict=True)}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        known = {layer.name for layer in self.model.layers}
        keras = keras_model.load_keras_module("tf_keras" if "tf_keras" in type(self.model).__module__ else "keras")
        wanted = {path: self.model.get_layer(layer).output for path, layer in tap_layers(arch) if layer in known}
        if self.planar or not wanted:
            return iter(())
        inside = keras.Model(self.model.inputs, list(wanted.values()))
        values = inside(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), training=False)
        return iter(
            [(path, from_last(keras_running.to_numpy(value))) for path, value in zip(wanted, values, strict=True)]
        )


def tap_layers(arch: Architecture) -> Iterator[tuple[str, str]]:
    """(unit path, Keras layer that holds its activation)."""
    for unit in arch.units():
        yield unit.path, layer_name(f"{unit.path}.relu_s1" if unit.relu else unit.path)
