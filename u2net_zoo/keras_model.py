"""The native Keras model, from built-in layers named after the Torch modules; for Keras 3 and tf_keras (Keras 2)."""

import functools
import importlib
import inspect
from types import ModuleType
from typing import Any

import numpy as np

from .arch import BN_EPS, BN_MOMENTUM, POOL, RSU, Architecture, Unit
from .checkpoint import Checkpoint
from .errors import MissingExtraError, OptionError
from .weight_map import from_keras, layer_name, to_keras

__all__ = ["assign", "build", "load_keras_module", "resize_like", "state_of"]


def load_keras_module(name: str = "keras") -> ModuleType:
    """`keras` (3, any backend) or `tf_keras` (2). Raises MissingExtraError, OptionError on another name."""
    if name not in ("keras", "tf_keras"):
        raise OptionError(f"keras module {name!r}; allowed: 'keras', 'tf_keras'")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError("the Keras model", error.name or name, "keras" if name == "keras" else "h5") from None


def build(
    checkpoint: Checkpoint,
    *,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    outputs: str = "all",
    module: str = "keras",
) -> Any:
    """A `keras.Model` (or `tf_keras.Model`) with the checkpoint's weights.

    Input `image`: (N, H, W, in_ch) float32, normalised by a profile. Outputs (N, H, W, out_ch), `mask` (d0) or the
    list `mask, side1, …`: in [0, 1] when `arch.final` is "sigmoid", logits otherwise.

    Args:
        size: (H, W) of the input, any; the model then has built-in layers only and its file opens anywhere.
            None: any size at call time, by one registered layer, `resize_like`.
        batch: fixed batch size, or None for any.
        outputs: `"all"` or `"mask"`.
    """
    if outputs not in ("all", "mask"):
        raise OptionError(f"outputs {outputs!r}; allowed: 'all', 'mask'")
    keras = load_keras_module(module)
    checkpoint = checkpoint if outputs == "all" else checkpoint.mask_alone()
    arch = checkpoint.arch
    # `float32` is spelt out: a global mixed-precision policy must not change the model.
    image = keras.layers.Input((*(size or (None, None)), arch.in_ch), batch_size=batch, name="image", dtype="float32")
    maps = arch.run(_KerasOps(keras), image)
    names = arch.outputs if outputs == "all" else arch.outputs[:1]
    layer = keras.layers.Activation
    final = "sigmoid" if arch.final == "sigmoid" else "linear"
    results = [layer(final, name=name, dtype="float32")(m) for name, m in zip(names, maps, strict=False)]
    model = keras.Model(image, results if outputs == "all" else results[0], name=arch.name.replace("-", "_"))
    _freeze_norms_behind_resizing(model, keras)
    assign(model, checkpoint)
    return model


class _KerasOps:
    """Keras' arithmetic for the walks of `arch`; a layer is created where it is used."""

    def __init__(self, keras: ModuleType):
        self.layers = keras.layers
        self.has_training_default = "training" in inspect.signature(keras.layers.Resizing.call).parameters
        self.resize_like = functools.cache(lambda: resize_like(keras.__name__)(dtype="float32"))

    def conv(self, unit: Unit, x: Any) -> Any:
        if unit.stride > 1:  # "same" would pad below and to the right alone
            x = self.layers.ZeroPadding2D(unit.padding, data_format="channels_last", dtype="float32")(x)
        x = self.layers.Conv2D(
            unit.out_ch,
            unit.kernel,
            unit.stride,
            padding="valid" if unit.stride > 1 else "same",
            dilation_rate=unit.dilation,
            data_format="channels_last",
            name=layer_name(unit.conv_path),
            dtype="float32",
        )(x)
        if unit.norm:
            x = self.layers.BatchNormalization(
                axis=-1, momentum=1 - BN_MOMENTUM, epsilon=BN_EPS, name=layer_name(unit.norm_path), dtype="float32"
            )(x)
        return self.layers.ReLU(name=layer_name(f"{unit.path}.relu_s1"), dtype="float32")(x) if unit.relu else x

    def pool(self, x: Any) -> Any:
        return self.layers.MaxPooling2D(POOL, POOL, padding="same", data_format="channels_last", dtype="float32")(x)

    def upsample(self, x: Any, like: Any) -> Any:
        height, width = like.shape[1:3]
        if height is None or width is None:
            return self.resize_like()([x, like])
        factors = height / x.shape[1], width / x.shape[2]
        if all(factor.is_integer() for factor in factors):
            whole = tuple(int(factor) for factor in factors)
            return self.layers.UpSampling2D(
                whole, data_format="channels_last", interpolation="bilinear", dtype="float32"
            )(x)
        layer = self.layers.Resizing(height, width, interpolation="bilinear", dtype="float32")
        # Keras 3 declares training=True as Resizing's default and, in a plain call `model(x)`, hands that on to every
        # later layer: batch norm would answer with, and store, the statistics of the picture.
        return layer(x, training=False) if self.has_training_default else layer(x)

    def concat(self, *maps: Any) -> Any:
        return self.layers.Concatenate(axis=-1, dtype="float32")(list(maps))

    def add(self, a: Any, b: Any) -> Any:
        return self.layers.Add(dtype="float32")([a, b])

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(self, x)


@functools.cache
def resize_like(module: str = "keras") -> Any:
    """The registered layer `u2net_zoo>ResizeLike` of that Keras: bilinear resize of the first map to the second's size.

    Importing is registering: call this before `load_model` on a file of a size-free model.
    """
    keras = load_keras_module(module)
    resize, shape = _resizer(keras)
    if module == "keras":
        register = keras.saving.register_keras_serializable
    else:
        register = keras.utils.register_keras_serializable

    @register(package="u2net_zoo", name="ResizeLike")
    class ResizeLike(keras.layers.Layer):  # type: ignore[name-defined]
        """Inputs x: (N, h, w, C), like: (N, H, W, …). Output (N, H, W, C); half-pixel centres."""

        def call(self, inputs: Any) -> Any:
            x, like = inputs
            return resize(x, shape(like)[1:3], "bilinear")

        def compute_output_shape(self, input_shape: Any) -> Any:
            x, like = input_shape
            return (x[0], like[1], like[2], x[3])

    return ResizeLike


def _resizer(keras: ModuleType) -> tuple[Any, Any]:
    """(resize of channels-last maps, shape) that take sizes known only when the model runs."""
    if keras.__name__ == "keras" and keras.backend.backend() != "tensorflow":
        return functools.partial(keras.ops.image.resize, data_format="channels_last"), keras.ops.shape
    import tensorflow as tf

    return tf.image.resize, tf.shape  # Keras' own resize takes no size that is a tensor of TensorFlow's graph


def _freeze_norms_behind_resizing(model: Any, keras: ModuleType) -> None:
    """Keras 2 cannot store the mode that Keras 3 must be told (see `upsample`), so there batch norm is frozen.

    A frozen batch norm always uses its stored statistics, in both; set `trainable` again before fine-tuning.
    """
    kinds = {type(layer).__name__ for layer in model.layers}
    if keras.__name__ == "tf_keras" and "Resizing" in kinds:
        for layer in model.layers:
            if type(layer).__name__ == "BatchNormalization":
                layer.trainable = False


def assign(model: Any, checkpoint: Checkpoint) -> None:
    """Gives a model of `build` other weights, those of a checkpoint of the same architecture."""
    values = to_keras(checkpoint.arch, checkpoint.state)
    if len(values) != len(model.weights):
        raise AssertionError(f"the model has {len(model.weights)} variables, the weight map {len(values)}")
    for (layer, variable), array in values.items():
        getattr(model.get_layer(layer), variable).assign(array)


def state_of(model: Any, arch: Architecture) -> Checkpoint:
    """The model's present weights as a checkpoint; the inverse of `build`, bit for bit."""

    def read(layer: str, variable: str) -> np.ndarray:
        value = getattr(model.get_layer(layer), variable)
        if hasattr(value, "value") and not callable(value.value):
            value = value.value  # a Keras 3 variable wraps its backend's tensor
        return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)

    return Checkpoint.from_state(from_keras(arch, read), arch=arch)
