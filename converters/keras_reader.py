"""`.h5` and `.keras` of any Keras -> Checkpoint. The weights are read with h5py; no layer is ever made.

Ours go by name. Others go by their graph, where the configuration has one, and otherwise by the order of the layers.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import ANCHOR, Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, one_line
from u2net_zoo.limits import check_size, member, open_zip
from u2net_zoo.weight_map import KERAS_LEAF, TO_OIHW

from . import hdf5
from .graph import Affine, Conv, Graph, Node, norm

__all__ = ["check_layers", "named_state", "read_h5", "read_keras"]

Groups = dict[str, dict[str, np.ndarray]]  # layer -> leaf (kernel, bias, gamma …) -> array as Keras holds it
OWN = re.compile(r"(?:(stage\d+d?)_(rebnconv\w+)_(conv_s1|bn_s1)|(side\d+|outconv)_logits|(conv_in))")
LEAVES = {2: ("kernel", "bias"), 1: ("kernel",), 4: ("gamma", "beta", "moving_mean", "moving_variance")}
_BUILT_IN = """
    InputLayer Conv2D BatchNormalization ReLU Activation MaxPooling2D UpSampling2D Resizing Concatenate Add
    ZeroPadding2D ResizeLike Functional Model Sequential Rescaling Dropout Permute Reshape Softmax Cropping2D
    AveragePooling2D Maximum LeakyReLU Normalization GaussianNoise SpatialDropout2D Average Multiply DepthwiseConv2D
    SeparableConv2D Conv2DTranspose GlobalAveragePooling2D Dense
"""
BUILT_IN = frozenset(_BUILT_IN.split())
MODULES = ("keras", "tf_keras", "builtins", "u2net_zoo")


def read_h5(path: Path) -> Checkpoint:
    """Of a whole model or of its weights alone. Raises CheckpointError: damaged, or no U²-Net."""
    check_size(path.stat().st_size, "the file")
    tree = hdf5.load(path)
    groups = _by_weight_names(tree, "model_weights/" if tree.has("model_weights") else "")
    return _checkpoint(groups, _layers(_h5_config(tree)))


def read_keras(path: Path) -> Checkpoint:
    """Of a Keras 3 archive. Raises CheckpointError: damaged, too large when unpacked, or no U²-Net."""
    with open_zip(path) as archive:
        layers = _layers(_json(member(archive, "config.json")))
        tree = hdf5.load(member(archive, "model.weights.h5"))
    return _checkpoint(_by_variables(tree, layers), layers)


def check_layers(path: Path) -> None:
    """Raises ArtifactError when the file's configuration has a layer that loading would have to run code for."""
    try:
        if path.suffix == ".keras":
            with open_zip(path) as archive:
                config = _json(member(archive, "config.json"))
        else:
            config = _h5_config(hdf5.load(path))
    except CheckpointError as error:
        raise ArtifactError(f"{path}: {error}") from None
    foreign = sorted({str(kind) for kind in _classes(config)} - BUILT_IN)
    if foreign:
        raise ArtifactError(f"{path}: not run: has layers that are not Keras' own plain ones: {', '.join(foreign[:3])}")


def _h5_config(tree: hdf5.Tree) -> Any:
    text = tree.attributes.get("", {}).get("model_config")
    return _json(text.encode()) if isinstance(text, str) else {}


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"its configuration is no JSON ({one_line(error)})") from None


def _layers(config: Any) -> list[dict[str, Any]]:
    """The layers of the model itself, in the configuration's order; empty where there is no configuration."""
    inner = config.get("config") if isinstance(config, dict) else None
    found = inner.get("layers") if isinstance(inner, dict) else inner
    return [layer for layer in found if isinstance(layer, dict)] if isinstance(found, list) else []


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


def _names(attributes: Any, key: str) -> list[str]:
    """A list of names; Keras splits one that is too long for an attribute into key0, key1, …"""
    parts = [attributes[key]] if key in attributes else []
    while f"{key}{len(parts)}" in attributes:
        parts.append(attributes[f"{key}{len(parts)}"])
    return [str(name) for part in parts if isinstance(part, list) for name in part]


def _by_weight_names(tree: hdf5.Tree, root: str) -> Groups:
    """Keras' own .h5: attributes list the layers and each layer's weights."""
    groups: Groups = {}
    for layer in _names(tree.attributes.get(root.rstrip("/"), {}), "layer_names"):
        for name in _names(tree.attributes.get(f"{root}{layer}", {}), "weight_names"):
            owner, _, leaf = name.rpartition("/")
            key = layer if owner.rpartition("/")[2] in (layer, "") or owner == layer else f"{layer}/{owner}"
            groups.setdefault(key, {})[leaf.partition(":")[0]] = tree.array(f"{root}{layer}/{name}")
    return groups or _by_variables(tree, [])


def _by_variables(tree: hdf5.Tree, layers: list[dict[str, Any]]) -> Groups:
    """Keras 3: `layers/<class>_<n>/vars/<i>`, counted in the configuration's order."""
    counts: dict[str, int] = {}
    places: dict[str, str] = {}
    for layer in layers:
        kind = _snake(str(layer.get("class_name")))
        n = counts[kind] = counts.get(kind, -1) + 1
        places[f"{kind}_{n}" if n else kind] = _name(layer)
    groups: Groups = {}
    for place in places or sorted(tree.children("layers"), key=_natural):
        count = len(tree.children(f"layers/{place}/vars"))
        if count in LEAVES:
            arrays = [tree.array(f"layers/{place}/vars/{i}") for i in range(count)]
            groups[places.get(place, place)] = dict(zip(LEAVES[count], arrays, strict=True))
    return groups


def _snake(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _natural(name: str) -> tuple[object, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name) if part)


def _name(layer: Mapping[str, Any]) -> str:
    inner = layer.get("config")
    return str(layer.get("name") or (inner.get("name") if isinstance(inner, dict) else ""))


def _checkpoint(groups: Groups, layers: list[dict[str, Any]]) -> Checkpoint:
    state = named_state(groups)
    if ANCHOR in state:
        sigmoid = any(_setting(layer, "activation", None) == "sigmoid" for layer in layers)
        checkpoint = Checkpoint.from_state(state).unfold()
        return checkpoint.with_final("sigmoid" if sigmoid else "none") if layers else checkpoint
    return _graph(groups, layers).checkpoint()


def named_state(groups: Groups) -> dict[str, np.ndarray]:
    """Torch's state dict of the layers that bear our names; empty for another maker's file."""
    return dict(_own(groups))


def _own(groups: Groups) -> Iterator[tuple[str, np.ndarray]]:
    """Torch keys and arrays of the layers that bear our names."""
    leaves = {variable: leaf for leaf, variable in KERAS_LEAF.items()} | {"kernel": "weight"}
    for layer, arrays in groups.items():
        match = OWN.fullmatch(layer)
        if match:
            stage, unit, part, head, stem = match.groups()
            module = f"{stage}.{unit}.{part}" if stage else head or stem
            for leaf, array in arrays.items():
                key = "bias" if leaf == "bias" else leaves.get(leaf, leaf)
                yield f"{module}.{key}", _oihw(array) if leaf == "kernel" else array


def _oihw(kernel: np.ndarray) -> np.ndarray:
    if kernel.ndim != 4:
        raise CheckpointError(f"a kernel has the shape {kernel.shape}; expected (height, width, in, out)")
    return np.ascontiguousarray(kernel.transpose(TO_OIHW))


def _graph(groups: Groups, layers: list[dict[str, Any]]) -> Graph:
    """One node per layer; layers without a configuration are taken for a chain in their order."""
    epsilon = {_name(layer): _setting(layer, "epsilon", 1e-3) for layer in layers}
    known = {_name(layer) for layer in layers}
    if not layers or any("kernel" in arrays and name not in known for name, arrays in groups.items()):
        chain = [None, *groups]
        roles = ((name, _role(arrays, float(epsilon.get(name, 1e-3)))) for name, arrays in groups.items())
        return Graph(
            [Node("layer", (str(chain[i]),), (name,), role) for i, (name, role) in enumerate(roles)]
            + [Node("sigmoid" if _is_one_channel(groups) else "end", (str(chain[-1]),), ("result",))]
        )
    nodes = []
    for layer in layers:
        name, activation = _name(layer), _setting(layer, "activation", None)
        kind = "sigmoid" if activation == "sigmoid" else str(layer.get("class_name"))
        feeds = tuple(dict.fromkeys(_feeds(layer.get("inbound_nodes"), known)))
        nodes.append(Node(kind, feeds, (name,), _role(groups.get(name, {}), float(epsilon[name]))))
    return Graph(nodes)


def _is_one_channel(groups: Groups) -> bool:
    kernels = [arrays["kernel"] for arrays in groups.values() if "kernel" in arrays]
    return bool(kernels) and kernels[-1].shape[-1] == 1


def _setting(layer: Mapping[str, Any], key: str, default: Any) -> Any:
    inner = layer.get("config")
    value = inner.get(key, default) if isinstance(inner, dict) else default
    return value if isinstance(value, str | int | float) else default


def _role(arrays: Mapping[str, np.ndarray], eps: float) -> Conv | Affine | None:
    if "kernel" in arrays and arrays["kernel"].ndim == 4:
        return Conv(_oihw(arrays["kernel"]), arrays.get("bias"))
    if "moving_mean" in arrays and "moving_variance" in arrays:
        mean, var = arrays["moving_mean"], arrays["moving_variance"]
        return norm(arrays.get("gamma", np.ones_like(mean)), arrays.get("beta", np.zeros_like(mean)), mean, var, eps)
    return None


def _feeds(value: Any, known: set[str]) -> Iterator[str]:
    """Layers named in `inbound_nodes`: Keras 2 writes [name, node, tensor, {}], Keras 3 `keras_history`."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list) and len(item) >= 3 and isinstance(item[0], str) and item[0] in known:
            yield item[0]
        elif isinstance(item, list):
            stack.extend(reversed(item))
        elif isinstance(item, dict):
            stack.extend(reversed(list(item.values())))
