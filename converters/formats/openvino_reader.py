"""OpenVINO IR -> Checkpoint: `.xml` is the graph, `.bin` the constants. Parsed here; no document type, no entities."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import check_size

from .other_activations import clamp
from .weight_graph import Affine, Conv, Graph, Node, beside_constant

__all__ = ["check", "read"]

DTYPES = {"f32": "<f4", "f16": "<f2", "f64": "<f8", "i64": "<i8", "i32": "<i4", "i8": "<i1", "u8": "<u1"}
ARITHMETIC = {"Subtract": np.subtract, "Multiply": np.multiply, "Add": np.add}
TEXT_LIMIT = 64 << 20


def read(path: Path) -> Checkpoint:
    """Of the pair whose `.xml` is `path`; fp32, and fp16 or int8 constants behind Convert. Raises CheckpointError."""
    binary = path.with_suffix(".bin")
    if not binary.is_file():
        raise CheckpointError(f"its weights {binary.name!r} are missing beside it")
    check_size(binary.stat().st_size, "the file of weights")
    try:
        return _Model(_parse(path), binary.read_bytes()).graph().checkpoint()
    except CheckpointError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"damaged OpenVINO IR ({one_line(error)})") from None


def check(path: Path) -> None:
    """Raises CheckpointError when the `.xml` is one that should not be handed to a parser."""
    _parse(path)


def _parse(path: Path) -> ElementTree.Element:
    if path.stat().st_size > TEXT_LIMIT:
        raise CheckpointError(f"its .xml has {path.stat().st_size} bytes; allowed are {TEXT_LIMIT}")
    try:
        text = path.read_text("utf-8")
        if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
            raise CheckpointError("its .xml has a document type, which could hold entities that expand; refused")
        root = ElementTree.fromstring(text)  # noqa: S314 - see above
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise CheckpointError(f"damaged .xml ({one_line(error)})") from None
    if root.tag != "net":
        raise CheckpointError(f"not OpenVINO IR: its root is <{root.tag}>, not <net>")
    return root


class _Model:
    """Layers by number and what feeds each of their ports."""

    def __init__(self, root: ElementTree.Element, weights: bytes):
        self.weights = weights
        self.layers = {layer.attrib["id"]: layer for layer in root.findall("./layers/layer")}
        self.feeds: dict[str, list[str]] = {name: [] for name in self.layers}
        edges = [edge.attrib for edge in root.findall("./edges/edge")]
        for edge in sorted(edges, key=lambda e: int(e["to-port"])):
            self.feeds[edge["to-layer"]].append(edge["from-layer"])

    def graph(self) -> Graph:
        results = [name for name, layer in self.layers.items() if layer.attrib["type"] == "Result"]
        return Graph(list(self._nodes()), results)

    def _nodes(self) -> Iterator[Node]:
        for name, layer in self.layers.items():
            kind, inputs = layer.attrib["type"], tuple(self.feeds[name])
            role: Conv | Affine | None = None
            if kind == "Convolution" and len(inputs) == 2:
                kernel = self.constant(inputs[1])
                data = layer.find("data")
                steps = [int(n) for n in ("" if data is None else data.attrib.get("dilations", "")).split(",") if n]
                role = kernel if kernel is None else Conv(kernel, None, self.storage(inputs[1]), max(steps, default=0))
            elif kind in ("Add", "Multiply") and len(inputs) == 2:
                values = [self.constant(n) for n in inputs]
                role, inputs = beside_constant(inputs, values, product=kind == "Multiply")
            yield Node(_limited(layer) if kind == "Clamp" else kind, inputs, (name,), role)

    def constant(self, name: str, depth: int = 0) -> np.ndarray | None:
        """The value of a layer that depends on constants alone; None for every other."""
        layer, inputs = self.layers[name], self.feeds[name]
        kind = layer.attrib["type"]
        if kind == "Const":
            return self._read_constant(layer)
        if depth > 8 or kind not in (*ARITHMETIC, "Convert", "Reshape", "Unsqueeze"):
            return None
        values = [self.constant(n, depth + 1) for n in inputs[: 2 if kind in ARITHMETIC else 1]]
        if any(value is None for value in values):
            return None
        if kind in ARITHMETIC:
            function: Any = ARITHMETIC[kind]
            return function(*(np.asarray(v, np.float32) for v in values))
        return values[0]

    def storage(self, name: str) -> str:
        """`int8 per channel` of a kernel that depends on constants alone; empty where they are floats."""
        scales = 1
        for _ in range(8):
            layer = self.layers[name]
            if layer.attrib["type"] == "Const":
                data = layer.find("data")
                kind = np.dtype(DTYPES[data.attrib["element_type"]]) if data is not None else np.dtype("f4")
                return "" if kind.kind == "f" else f"{kind.name} per {'channel' if scales > 1 else 'tensor'}"
            if layer.attrib["type"] == "Multiply":
                factor = self.constant(self.feeds[name][1])
                scales = 1 if factor is None else factor.size
            name = self.feeds[name][0]
        return ""

    def _read_constant(self, layer: ElementTree.Element) -> np.ndarray | None:
        data = layer.find("data")
        if data is None or data.attrib.get("element_type") not in DTYPES:
            return None
        shape = tuple(int(n) for n in data.attrib["shape"].split(",") if n.strip())
        offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
        if offset < 0 or size < 0 or offset + size > len(self.weights):
            raise CheckpointError(f"{layer.attrib.get('name')}: the .bin ends before its weights do")
        return np.frombuffer(self.weights[offset : offset + size], DTYPES[data.attrib["element_type"]]).reshape(shape)


def _limited(layer: ElementTree.Element) -> str:
    """The kind of a Clamp."""
    data = layer.find("data")
    given = {} if data is None else data.attrib
    return clamp(float(given.get("min", "-inf")), float(given.get("max", "inf")))
