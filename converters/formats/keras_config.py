"""The configuration that a Keras file holds: its layers, and whether loading it would run anybody's code."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from u2net_zoo.errors import ArtifactError, CheckpointError, one_line
from u2net_zoo.limits import member, open_zip

from . import hdf5

__all__ = ["check_layers", "h5_config", "layers_of", "parsed"]

_BUILT_IN = """
    InputLayer Conv2D BatchNormalization ReLU Activation MaxPooling2D UpSampling2D Resizing Concatenate Add
    ZeroPadding2D ResizeLike Functional Model Sequential Rescaling Dropout Permute Reshape Softmax Cropping2D
    AveragePooling2D Maximum LeakyReLU Normalization GaussianNoise SpatialDropout2D Average Multiply DepthwiseConv2D
    SeparableConv2D Conv2DTranspose GlobalAveragePooling2D Dense
"""
BUILT_IN = frozenset(_BUILT_IN.split())
ZIP = b"PK"  # what a Keras 3 archive starts with, whatever it is called
DEEPEST = 4  # models in models; a wrapper around a network is one
MODULES = ("keras", "tf_keras", "builtins", "u2net_zoo")


def check_layers(path: Path) -> bool:
    """Whether a file holds a model, and not its weights alone.

    Raises:
        ArtifactError: damaged, or its configuration has a layer that loading would have to run code for.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(ZIP)) == ZIP
        if packed:
            with open_zip(path) as archive:
                config = parsed(member(archive, "config.json"))
        else:
            config = h5_config(hdf5.load(path))
    except CheckpointError as error:
        raise ArtifactError(f"{path}: {error}") from None
    foreign = sorted({str(kind) for kind in _classes(config)} - BUILT_IN)
    if foreign:
        raise ArtifactError(f"{path}: not run: has layers that are not Keras' own plain ones: {', '.join(foreign[:3])}")
    return bool(config)


def h5_config(tree: hdf5.Tree) -> Any:
    text = tree.attributes.get("", {}).get("model_config")
    return parsed(text.encode()) if isinstance(text, str) else {}


def parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"its configuration is no JSON ({one_line(error)})") from None


def layers_of(config: Any, depth: int = DEEPEST) -> list[dict[str, Any]]:
    """The layers in the configuration's order, those of a model inside in its place; empty without a configuration."""
    inner = config.get("config") if isinstance(config, dict) else None
    found = inner.get("layers") if isinstance(inner, dict) else inner
    layers = [layer for layer in found if isinstance(layer, dict)] if isinstance(found, list) else []
    return [one for layer in layers for one in (depth and layers_of(layer, depth - 1)) or [layer]]


def _classes(value: Any) -> Iterator[Any]:
    """Class of every layer, also of those in nested models; a layer is what stands in a list `layers`.

    And every module that is not Keras' own: whatever stands there, Keras would import it.
    """
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            module = item.get("module") if "class_name" in item else None
            if module is not None and str(module).split(".")[0] not in MODULES:
                yield f"{module}.{item['class_name']}"
            for layer in item.get("layers") or []:
                if isinstance(layer, dict):
                    yield layer.get("class_name")
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
