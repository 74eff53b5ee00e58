"""Packages that are broken, or made to do harm, end in one clear line."""

import contextlib
import json
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.mil_programs import arrays, mb, save

from converters.mil import Package, evaluate, proto
from u2net_zoo.errors import ArtifactError

X, W = arrays((1, 3, 8, 8), (16, 3, 3, 3))
MODEL, WEIGHTS = "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A convolution whose weights are in the weight file."""
    return save(
        tmp_path_factory.mktemp("sound"), lambda x: mb.relu(x=mb.conv(x=x, weight=W, pad_type="valid", name="c")), (X,)
    )


@pytest.fixture
def package(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "bad.mlpackage"))


def refused(path: Path, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError, match=message) as caught:
            evaluate(Package.open(path), {"x": X})
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path.name}: ")


def weights(change: Callable[[bytearray], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        raw = bytearray((path / WEIGHTS).read_bytes())
        changed = change(raw)
        (path / WEIGHTS).write_bytes(raw if changed is None else changed)

    return apply


def program(change: Callable[[Any, dict[str, Any]], None]) -> Callable[[Path], None]:
    """`change` gets the specification and the operations by kind (the last of each)."""

    def apply(path: Path) -> None:
        spec = proto.load("Model_pb2").Model.FromString((path / MODEL).read_bytes())
        function = spec.mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        change(spec, {op.type: op for op in block.operations} | {"weight": stored(block), "block": block})
        (path / MODEL).write_bytes(spec.SerializeToString())

    return apply


def stored(block: Any) -> Any:
    """The constant in the weight file."""
    values = [op.attributes["val"] for op in block.operations if op.type == "const"]
    return next(value for value in values if value.WhichOneof("value") == "blobFileValue")


def manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        content = json.loads((path / "Manifest.json").read_text())
        change(content)
        (path / "Manifest.json").write_text(json.dumps(content))

    return apply


def root(path: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["itemInfoEntries"][content["rootModelIdentifier"]].update(path=path)


def put(raw: bytearray, layout: str, offset: int, *values: int) -> None:
    struct.pack_into(layout, raw, offset, *values)


def link_outside(path: Path) -> None:
    outside = path.parent / "outside.bin"
    shutil.move(path / WEIGHTS, outside)
    (path / WEIGHTS).symlink_to(outside)


def offset(value: int) -> Callable[[Path], None]:
    return program(lambda spec, ops: setattr(ops["weight"].blobFileValue, "offset", value))


def file_name(value: str) -> Callable[[Path], None]:
    return program(lambda spec, ops: setattr(ops["weight"].blobFileValue, "fileName", value))


def dimension(size: int) -> Callable[[Path], None]:
    return program(lambda spec, ops: setattr(ops["weight"].type.tensorType.dimensions[0].constant, "size", size))


def swap(spec: Any, ops: dict[str, Any]) -> None:
    operations = ops["block"].operations
    last = [type(op).FromString(op.SerializeToString()) for op in operations]
    del operations[:]
    operations.extend(reversed(last))


def neural(spec: Any, ops: dict[str, Any]) -> None:
    spec.neuralNetwork.SetInParent()


def unknown_parameter(spec: Any, ops: dict[str, Any]) -> None:
    ops["relu"].inputs["slope"].CopyFrom(ops["relu"].inputs["x"])


def huge_padding(spec: Any, ops: dict[str, Any]) -> None:
    for op in ops["block"].operations:
        value = op.attributes["val"].immediateValue.tensor if "val" in op.attributes else None
        if value is not None and value.WhichOneof("value") == "strings":
            value.strings.values[:] = ["custom"]
        elif value is not None and list(value.ints.values) == [0, 0, 0, 0]:
            value.ints.values[:] = [2**30] * 4


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weight file": (lambda p: (p / WEIGHTS).unlink(), "weight file 'weight.bin' is missing"),
    "truncated weights": (weights(lambda raw: raw[:-1]), "truncated, or a wrong offset"),
    "empty weights": (weights(lambda raw: b""), "truncated, or a wrong offset"),
    "wrong version": (weights(lambda raw: put(raw, "<I", 4, 3)), "storage version 3"),
    "no sentinel": (weights(lambda raw: put(raw, "<I", 64, 1)), "no blob starts at offset 64"),
    "wrong type": (weights(lambda raw: put(raw, "<I", 68, 1)), "blob at 64 has type 1, the program says fp32"),
    "wrong size": (weights(lambda raw: put(raw, "<Q", 72, 4)), "has 4 bytes; 432 elements of fp32 take 1728"),
    "data beyond the end": (weights(lambda raw: put(raw, "<Q", 80, 2**63)), "truncated, or a wrong offset"),
    "offset beyond the end": (offset(1 << 40), "truncated, or a wrong offset"),
    "offset between blobs": (offset(65), "offset 65 is not that of a blob"),
    "offset of data": (offset(128), "no blob starts at offset 128"),
    "larger than its blob": (dimension(1 << 20), "has 1728 bytes; 28311552 elements"),
    "larger than anything": (dimension(1 << 40), "larger than 536870912 elements"),
    "weights elsewhere": (file_name("@model_path/../../../outside.bin"), "leaves the package"),
    "weights at the root": (file_name("/etc/hostname"), "does not start with @model_path/"),
    "absolute weights": (file_name("@model_path//etc/hostname"), "leaves the package"),
    "weights through a link": (link_outside, "leaves the package through a link"),
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), "not an .mlpackage: a folder with Manifest.json"),
    "broken manifest": (lambda p: (p / "Manifest.json").write_text("{"), "Manifest.json names no root model"),
    "deep manifest": (lambda p: (p / "Manifest.json").write_text("[" * 100_000), "Manifest.json names no root model"),
    "empty manifest": (manifest(dict.clear), "Manifest.json names no root model"),
    "model elsewhere": (manifest(root("../../other/model.mlmodel")), "leaves the package"),
    "no model": (manifest(root("com.apple.CoreML/nothing.mlmodel")), "its model file .* is missing"),
    "truncated model": (lambda p: (p / MODEL).write_bytes((p / MODEL).read_bytes()[:-7]), "truncated or no Core ML"),
    "model of noise": (lambda p: (p / MODEL).write_bytes(b"\xff" * 64), "truncated or no Core ML model"),
    "empty model": (lambda p: (p / MODEL).write_bytes(b""), "model without a type, not an ML Program"),
    "neural network": (program(neural), "neuralNetwork, not an ML Program"),
    "unknown op": (
        program(lambda spec, ops: setattr(ops["relu"], "type", "relu_squared")),
        "op 'relu_squared' is not supported; there are: abs, acos, .*, upsample_nearest_neighbor",
    ),
    "unknown parameter": (program(unknown_parameter), r"op 'relu_0' \(relu\): unknown parameter 'slope'; known: x"),
    "missing parameter": (program(lambda spec, ops: ops["relu"].inputs.clear()), r"\(relu\): TypeError: .*missing"),
    "wrong shape declared": (
        program(lambda spec, ops: setattr(ops["relu"].outputs[0].type.tensorType.dimensions[1].constant, "size", 7)),
        r"'relu_0' is declared fp32 \(1, 7, 6, 6\), but is float32 \(1, 16, 6, 6\)",
    ),
    "wrong type declared": (
        program(lambda spec, ops: setattr(ops["relu"].outputs[0].type.tensorType, "dataType", 23)),
        r"'relu_0' is declared int32 .*, but is float32",
    ),
    "unknown element type": (
        program(lambda spec, ops: setattr(ops["relu"].outputs[0].type.tensorType, "dataType", 41)),
        "unknown element type number 41",
    ),
    "backwards": (program(swap), "which does not exist yet"),
    "no such function": (program(lambda spec, ops: spec.mlProgram.functions.clear()), "has no function 'main'"),
    "outputs of another program": (
        program(lambda spec, ops: setattr(spec.description.output[0], "name", "other")), "disagree about 'other'"
    ),
    "padding beyond memory": (program(huge_padding), r"\(conv\): ValueError: a result of shape .*2147483656"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_package_is_refused(package, name):
    damage, message = BROKEN[name]
    damage(package)
    refused(package, message)


def test_the_package_that_was_broken_is_sound(sound):
    (got,) = evaluate(Package.open(sound), {"x": X}).values()
    assert got.shape == (1, 16, 6, 6)
    assert np.isfinite(got).all()


GROWING: dict[str, Callable[..., Any]] = {
    "fill": lambda x: mb.fill(shape=x, value=1.0),
    "tile": lambda x: mb.tile(x=np.ones((1, 1, 1, 2), np.float32), reps=x),
    "pad": lambda x: mb.pad(x=np.ones((1, 1), np.float32), pad=x),
    "resize": lambda x: mb.resize(x=np.ones((1, 1, 2, 2), np.float32), shape=x, resized_dims=np.uint32(2)),
    "range_1d": lambda x: mb.range_1d(start=0, end=mb.reduce_max(x=x), step=1),
    "one_hot": lambda x: mb.one_hot(indices=x, one_hot_vector_size=mb.reduce_max(x=x)),
}


@pytest.mark.parametrize("name", GROWING)
def test_a_result_beyond_all_bounds_is_refused_before_it_is_made(name, tmp_path):
    sizes = np.full(4, 2**30, np.int32)
    package = Package.open(save(tmp_path, GROWING[name], (sizes,)))
    with pytest.raises(
        ArtifactError, match=rf"\({name}\): ValueError: a result of shape .*; at most 536870912 elements"
    ):
        evaluate(package, {"x": sizes})


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_end_in_anything_else(package, seed):
    """Whatever is damaged: an ArtifactError, or an answer of the declared shape."""
    rng = np.random.default_rng(seed)
    path = package / (MODEL if seed % 4 else WEIGHTS)
    raw = bytearray(path.read_bytes())
    for place in rng.integers(0, len(raw), 3):
        raw[place] ^= int(rng.integers(1, 256))
    path.write_bytes(raw)
    with contextlib.suppress(ArtifactError):
        opened = Package.open(package)
        if opened.inputs.keys() == {"x"}:
            evaluate(opened, {"x": X})
