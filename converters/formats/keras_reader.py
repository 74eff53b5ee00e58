"""`.h5` and `.keras` of any Keras -> Checkpoint. The weights are read with h5py; no layer is ever made.

Ours go by name. Others go by their graph, where the configuration has one, and otherwise by what `keras_layers` finds.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.batch_norm import batch_norm
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, OptionError
from u2net_zoo.identify import ANCHOR
from u2net_zoo.limits import check_size, member, open_zip
from u2net_zoo.weight_map import KERAS_LEAF, TO_OIHW

from . import hdf5
from .keras_config import h5_config, layers_of, parsed
from .keras_layers import from_layers
from .other_activations import clamp, is_other
from .weight_graph import Affine, Conv, Graph, Node

__all__ = ["named_state", "read_h5", "read_keras"]

Groups = dict[str, dict[str, np.ndarray]]  # layer -> leaf (kernel, bias, gamma …) -> array as Keras holds it
# Layers of ours; also those of a class that has the authors' attributes, `stage1/rebnconvin/conv_s1`.
OWN = re.compile(r"(?:.*_)?(?:(stage\d+d?)_(rebnconv\w+)_(conv_s1|bn_s1)|(side\d+|outconv)(?:_logits)?|(conv_in))")
NESTED = (
    "its layers lie in blocks or attributes under names that are not the authors', and are not stored in their order;"
    " load them where the model's code is and write its graph: model.export('folder'), a SavedModel"
)
FUSION = "outconv.weight"
LEAVES = {2: ("kernel", "bias"), 1: ("kernel",), 4: ("gamma", "beta", "moving_mean", "moving_variance")}


def read_h5(path: Path, blocks: str | None = None) -> Checkpoint:
    """Of a whole model or of its weights alone. Raises CheckpointError: damaged, or no U²-Net.

    Args:
        blocks: see `dilation.decided`.
    """
    check_size(path.stat().st_size, "the file")
    tree = hdf5.load(path)
    groups = _by_weight_names(tree, "model_weights/" if tree.has("model_weights") else "")
    layers = layers_of(h5_config(tree))
    if groups:
        return _checkpoint(groups, layers, blocks, ordered=True)
    return _checkpoint(_by_variables(tree, []), layers, blocks, ordered=_is_flat(tree))


def read_keras(path: Path, blocks: str | None = None) -> Checkpoint:
    """Of a Keras 3 archive. Raises CheckpointError: damaged, too large when unpacked, or no U²-Net."""
    with open_zip(path) as archive:
        layers = layers_of(parsed(member(archive, "config.json")))
        tree = hdf5.load(member(archive, "model.weights.h5"))
    return _checkpoint(_by_variables(tree, layers), layers, blocks, ordered=_is_flat(tree))


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
    return groups


def _by_variables(tree: hdf5.Tree, layers: list[dict[str, Any]]) -> Groups:
    """Keras 3: `layers/<class>_<n>/vars/<i>`, counted in the configuration's order; without one under the names that
    newer files keep beside the weights, or the paths. Of each class in the file's order, which is that of the layers.
    """
    counts: dict[str, int] = {}
    places: dict[str, str] = {}
    for layer in layers:
        kind = _snake_case(str(layer.get("class_name")))
        n = counts[kind] = counts.get(kind, -1) + 1
        places[f"layers/{kind}_{n}" if n else f"layers/{kind}"] = _name(layer)
    found = {path.rpartition("/vars/")[0] for path in tree.arrays if "/vars/" in path}
    groups: Groups = {}
    for path in sorted(found, key=_natural):
        count = len(tree.children(f"{path}/vars"))
        if count in LEAVES and not path.startswith("optimizer"):
            arrays = [tree.array(f"{path}/vars/{i}") for i in range(count)]
            name = places.get(path) or _own_names(tree, path)
            groups[name if name not in groups else path] = dict(zip(LEAVES[count], arrays, strict=True))
    return groups


def _is_flat(tree: hdf5.Tree) -> bool:
    """Whether the layers lie in the model itself, as those of a functional model: then their order is the model's."""
    owners = {path.rpartition("/vars/")[0] for path in tree.arrays if "/vars/" in path}
    return all(re.fullmatch(r"layers/[^/]+|optimizer.*", owner) for owner in owners)


def _own_names(tree: hdf5.Tree, path: str) -> str:
    """`layers/rsu7/conv2d` -> `stage1/conv2d`, where Keras wrote that the layer was called `stage1`."""
    parts = path.split("/")
    names = []
    for n, part in enumerate(parts):
        own = tree.attributes.get("/".join([*parts[: n + 1], "vars"]), {}).get("name")
        names += [own if isinstance(own, str) else part] if part != "layers" else []
    return "/".join(names)


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _natural(name: str) -> tuple[object, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name) if part)


def _name(layer: Mapping[str, Any]) -> str:
    inner = layer.get("config")
    return str(layer.get("name") or (inner.get("name") if isinstance(inner, dict) else ""))


def _checkpoint(groups: Groups, layers: list[dict[str, Any]], blocks: str | None, *, ordered: bool) -> Checkpoint:
    """`ordered`: the groups stand in the order of the model's layers."""
    state = named_state(groups)
    if ANCHOR in state:
        sigmoid = any(_setting(layer, "activation", None) == "sigmoid" for layer in layers)
        graph = _graph(groups, layers) if layers else None
        if graph and FUSION in state:
            state[FUSION] = graph.arranged(state[FUSION])
        checkpoint = Checkpoint.from_state(state, dilations=_own_dilations(layers), blocks=blocks).unfold()
        if graph:
            graph.refuse_other_activations(checkpoint.arch)
        return checkpoint.with_final("sigmoid" if sigmoid else "none") if layers else checkpoint
    known = {_name(layer) for layer in layers}
    if layers and all("kernel" not in arrays or name in known for name, arrays in groups.items()):
        if blocks:
            raise OptionError(f"--arch {blocks}: the file holds the whole model and says it itself; leave --arch out")
        return _graph(groups, layers).checkpoint()
    if not ordered:
        raise CheckpointError(NESTED)
    return _without_graph(groups, layers, blocks)


def _without_graph(groups: Groups, layers: list[dict[str, Any]], blocks: str | None) -> Checkpoint:
    """Of the layers' order alone."""
    epsilons = set(_epsilons(layers))
    if len(epsilons) > 1:
        raise CheckpointError(f"its norms have several epsilons; {NESTED}")
    convolutions = [role for arrays in groups.values() if isinstance(role := _role(arrays, 0.0), Conv)]
    norms = [arrays for arrays in groups.values() if "moving_variance" in arrays]
    return from_layers(convolutions, norms, epsilons.pop() if epsilons else None, blocks)


def _epsilons(layers: list[dict[str, Any]]) -> Iterator[float]:
    """Of every norm, also of those inside of blocks."""
    stack: list[Any] = [*layers]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if item.get("class_name") == "BatchNormalization":
                yield float(_setting(item, "epsilon", 1e-3))
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def named_state(groups: Groups) -> dict[str, np.ndarray]:
    """Torch's state dict of the layers that bear our names; empty for another maker's file."""
    return dict(_own_state(groups))


def _own_state(groups: Groups) -> Iterator[tuple[str, np.ndarray]]:
    """Torch keys and arrays of the layers that bear our names."""
    leaves = {variable: leaf for leaf, variable in KERAS_LEAF.items()} | {"kernel": "weight"}
    for layer, arrays in groups.items():
        match = OWN.fullmatch(layer.replace("/", "_"))
        if match:
            stage, unit, part, head, stem = match.groups()
            module = f"{stage}.{unit}.{part}" if stage else head or stem
            for leaf, array in arrays.items():
                key = "bias" if leaf == "bias" else leaves.get(leaf, leaf)
                yield f"{module}.{key}", _to_oihw(array) if leaf == "kernel" else array


def _to_oihw(kernel: np.ndarray) -> np.ndarray:
    if kernel.ndim != 4:
        raise CheckpointError(f"a kernel has the shape {kernel.shape}; expected (height, width, in, out)")
    return np.ascontiguousarray(kernel.transpose(TO_OIHW))


def _graph(groups: Groups, layers: list[dict[str, Any]]) -> Graph:
    """One node per layer."""
    known, nodes = {_name(layer) for layer in layers}, []
    for layer in layers:
        name, activation = _name(layer), _setting(layer, "activation", None)
        kind = "sigmoid" if activation == "sigmoid" else _kind(layer)
        feeds = tuple(dict.fromkeys(_feeds(layer.get("inbound_nodes"), known)))
        role = _role(groups.get(name, {}), float(_setting(layer, "epsilon", 1e-3)))
        if isinstance(role, Conv):
            role = replace(role, dilation=_dilation(layer))
        fused = activation if role and isinstance(activation, str) and is_other(activation) else ""
        nodes.append(Node(kind, feeds, (name,), role, fused=fused))
    return Graph(nodes)


def _kind(layer: Mapping[str, Any]) -> str:
    """A layer's class; of an activation what it computes."""
    kind, activation = str(layer.get("class_name")), _setting(layer, "activation", None)
    if kind == "Activation" and isinstance(activation, str):
        return activation
    if kind != "ReLU":
        return kind
    if _setting(layer, "negative_slope", 0.0) or _setting(layer, "threshold", 0.0):
        return "LeakyReLU"
    return clamp(0.0, float(_setting(layer, "max_value", inf)))


def _setting(layer: Mapping[str, Any], key: str, default: Any) -> Any:
    inner = layer.get("config")
    value = inner.get(key, default) if isinstance(inner, dict) else default
    return value if isinstance(value, str | int | float) else default


def _own_dilations(layers: list[dict[str, Any]]) -> dict[str, int]:
    """Unit path -> dilation, of the layers that bear our names."""
    matches = ((OWN.fullmatch(_name(layer)), layer) for layer in layers)
    found = ((match.groups(), layer) for match, layer in matches if match)
    return {
        f"{stage}.{unit}" if stage else head or stem: _dilation(layer)
        for (stage, unit, part, head, stem), layer in found
        if part != "bn_s1"
    }


def _dilation(layer: Mapping[str, Any]) -> int:
    inner = layer.get("config")
    rates = inner.get("dilation_rate", 1) if isinstance(inner, dict) else 1
    return max((rate for rate in (rates if isinstance(rates, list) else [rates]) if isinstance(rate, int)), default=0)


def _role(arrays: Mapping[str, np.ndarray], eps: float) -> Conv | Affine | None:
    if "kernel" in arrays and arrays["kernel"].ndim == 4:
        return Conv(_to_oihw(arrays["kernel"]), arrays.get("bias"))
    if "moving_mean" in arrays and "moving_variance" in arrays:
        mean, var = arrays["moving_mean"], arrays["moving_variance"]
        return batch_norm(
            arrays.get("gamma", np.ones_like(mean)), arrays.get("beta", np.zeros_like(mean)), mean, var, eps
        )
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
