"""Networks of the same kernels with another activation than ReLU: no reader takes them for a U²-Net."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.networks import TINY, hard_checkpoint
from support.other_makers import saved_model, tensorflow_function

from converters import FORMATS, Options
from converters.formats.executorch_writing import program_bytes
from converters.formats.other_activations import clamp
from converters.formats.xnnpack_graph import xnnpack_graph
from converters.loading import read_source
from u2net_zoo import keras_model, torch_model
from u2net_zoo.errors import NotANetworkError

SIDE = 32
INSIDE = sum(unit.relu for unit in TINY.units())
SAYS = rf"not a U²-Net: {{}} behind stage1\.rebnconvin and {INSIDE - 1} more, where ReLU is expected"
SIX = SAYS.format(r"(Clamp\(0, 6\)|[Rr]e[Ll][Uu]6|RELU6)")


@pytest.fixture(scope="module")
def tiny():
    return hard_checkpoint(TINY).fold()


def changed(checkpoint, activation: Callable[[], Any]):
    """The Torch module with another activation behind each convolution of a block."""
    model = torch_model.build(checkpoint).eval()
    for name, _ in list(model.named_modules()):
        if name.endswith("relu_s1"):
            model.get_submodule(name.rpartition(".")[0]).relu_s1 = activation()
    return model


def onnx_file(checkpoint, folder: Path, activation: Callable[[], Any]) -> Path:
    import torch

    path, sample = folder / "other.onnx", torch.zeros(1, 3, SIDE, SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(changed(checkpoint, activation), (sample,), str(path), opset_version=17, dynamo=False)
    return path


def clipped(checkpoint, path: Path, low: float | None, high: float | None, opset: int = 17) -> Path:
    """Our ONNX file with a Clip in place of each ReLU, as opset 11 and later write it or as those before did."""
    import onnx

    FORMATS["onnx"].write(checkpoint, path, FORMATS["onnx"].settle(Options(size=(SIDE, SIDE))))
    model = onnx.load(path)
    limits = {"min": low, "max": high}
    given = {name: value for name, value in limits.items() if value is not None}
    model.graph.initializer.extend(onnx.helper.make_tensor(n, 1, (), [value]) for n, value in given.items())
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Clip"
            if opset < 11:
                node.attribute.extend(onnx.helper.make_attribute(n, value) for n, value in given.items())
            else:
                node.input.extend(n if n in given else "" for n in limits)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("low", "high", "kind"), [
    (0, 6, "Clamp(0, 6)"), (-1, 1, "Clamp(-1, 1)"), (0.5, float("inf"), "Clamp(0.5, inf)"), (0, float("inf"), "Relu"),
    (0, 65504, "Relu"), (0, 3.4e38, "Relu"), (-3.4e38, 3.4e38, "Identity"), (float("-inf"), 6, "Clamp(-inf, 6)"),
])  # fmt: skip
def test_limits_are_a_kind(low, high, kind):
    assert clamp(low, high) == kind


@pytest.mark.full
@pytest.mark.parametrize(("activation", "says"), [
    ("ReLU6", SIX), ("LeakyReLU", SAYS.format("LeakyRelu")), ("ELU", SAYS.format("Elu")),
])  # fmt: skip
def test_onnx_files(tiny, tmp_path, activation, says):
    import torch

    with pytest.raises(NotANetworkError, match=says):
        read_source(onnx_file(tiny, tmp_path, getattr(torch.nn, activation)))


@pytest.mark.parametrize("opset", [9, 17])
def test_clips_are_read_by_their_limits(tiny, tmp_path, opset):
    for high in (None, 65504.0, 3.4e38):
        found = read_source(clipped(tiny, tmp_path / "right.onnx", 0.0, high, opset))
        assert found.fold().arch.blocks == tiny.arch.blocks
    for low, high, kind in (
        (0.0, 6.0, r"Clamp\(0, 6\)"),
        (None, 6.0, r"Clamp\(-inf, 6\)"),
        (-1.0, 1.0, r"Clamp\(-1, 1\)"),
    ):
        with pytest.raises(NotANetworkError, match=SAYS.format(kind)):
            read_source(clipped(tiny, tmp_path / "other.onnx", low, high, opset))


def test_executorch_files(tiny, tmp_path):
    """As XNNPACK's delegate has ReLU6: the bounds of a convolution."""
    graph = xnnpack_graph(tiny, FORMATS["executorch"].settle(Options(size=(SIDE, SIDE))))
    nodes = tuple(replace(node, bounds=(0.0, 6.0)) if node.bounds else node for node in graph.nodes)
    assert sum(node.bounds is not None for node in nodes) >= INSIDE
    (tmp_path / "other.pte").write_bytes(program_bytes(replace(graph, nodes=nodes), {}))
    with pytest.raises(NotANetworkError, match=SIX):
        read_source(tmp_path / "other.pte")


@pytest.mark.full
@pytest.mark.parametrize("delegated", [True, False], ids=["XNNPACK", "kernels"])
def test_files_of_executorchs_exporter(tiny, tmp_path, delegated):
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(changed(tiny, torch.nn.ReLU6), (torch.zeros(1, 3, SIDE, SIDE),))
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()] if delegated else [])
    (tmp_path / "other.pte").write_bytes(edge.to_executorch().buffer)
    with pytest.raises(NotANetworkError, match=SIX):
        read_source(tmp_path / "other.pte")


def test_one_of_them_is_enough(tiny, tmp_path):
    graph = xnnpack_graph(tiny, FORMATS["executorch"].settle(Options(size=(SIDE, SIDE))))
    last = max(n for n, node in enumerate(graph.nodes) if node.bounds)
    nodes = [replace(node, bounds=(0.0, 6.0)) if n == last else node for n, node in enumerate(graph.nodes)]
    (tmp_path / "other.pte").write_bytes(program_bytes(replace(graph, nodes=tuple(nodes)), {}))
    with pytest.raises(NotANetworkError, match=r"Clamp\(0, 6\) behind stage1d\.rebnconv1d, where ReLU is expected"):
        read_source(tmp_path / "other.pte")


@pytest.mark.parametrize(("with_", "says"), [("9=3 -23310=2,0.0,6.0", SIX), ("9=2 -23310=1,0.1", "LeakyReLU behind")])
def test_ncnn_files(tiny, tmp_path, with_, says):
    """Another activation in the convolutions themselves, as its optimiser writes them."""
    ncnn = FORMATS["ncnn"]
    ncnn.write(tiny, tmp_path / "ncnn", ncnn.settle(Options(size=(SIDE, SIDE))))
    (path,) = (tmp_path / "ncnn").glob("*.param")
    text = path.read_text(encoding="utf-8")
    assert text.count(" 9=1") == INSIDE
    path.write_text(text.replace(" 9=1", f" {with_}"), encoding="utf-8")
    with pytest.raises(NotANetworkError, match=says):
        read_source(path)


@pytest.mark.full
def test_torchscript_files(tiny, tmp_path):
    import torch

    for activation in (torch.nn.ReLU6, torch.nn.LeakyReLU):
        model = torch.jit.trace(changed(tiny, activation), torch.zeros(1, 3, SIDE, SIDE), check_trace=False)
        for each in (model, torch.jit.freeze(model)):
            each.save(str(tmp_path / "other.pt"))
            with pytest.raises(NotANetworkError, match=r"it calls (hardtanh|relu6|leaky_relu), where ReLU is expected"):
                read_source(tmp_path / "other.pt")


@pytest.mark.full
def test_exported_programs(tiny, tmp_path):
    import torch

    for activation in (torch.nn.ReLU6, torch.nn.LeakyReLU):
        program = torch.export.export(changed(tiny, activation), (torch.zeros(1, 3, SIDE, SIDE),))
        torch.export.save(program, str(tmp_path / "other.pt2"))
        with pytest.raises(NotANetworkError, match=r"it calls (hardtanh|relu6|leaky_relu), where ReLU is expected"):
            read_source(tmp_path / "other.pt2")


VENDOR = """
import sys, _tools
_tools.mnnconvert(["", "-f", "ONNX", "--modelFile", sys.argv[1], "--MNNModel", sys.argv[2], "--bizCode", "x"])
"""


@pytest.mark.full
@pytest.mark.parametrize(("activation", "says"), [("ReLU6", SIX), ("LeakyReLU", SAYS.format("LeakyRelu"))])
def test_mnn_files(tiny, tmp_path, activation, says):
    import torch

    source, target = onnx_file(tiny, tmp_path, getattr(torch.nn, activation)), tmp_path / "other.mnn"
    command = [sys.executable, "-c", VENDOR, str(source), str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with pytest.raises(NotANetworkError, match=says):
        read_source(target)


@pytest.mark.full
@pytest.mark.parametrize(("activation", "says"), [("ReLU6", SIX), ("LeakyReLU", SAYS.format("(PReLU|LeakyReLU)"))])
def test_openvino_files(tiny, tmp_path, activation, says):
    import openvino
    import torch

    source = onnx_file(tiny, tmp_path, getattr(torch.nn, activation))
    openvino.save_model(openvino.convert_model(source), tmp_path / "other.xml")
    with pytest.raises(NotANetworkError, match=says):
        read_source(tmp_path / "other.xml")


@pytest.mark.full
@pytest.mark.parametrize("kind", ["mlprogram", "neuralnetwork"])
@pytest.mark.parametrize(("activation", "says"), [("ReLU6", SIX), ("LeakyReLU", SAYS.format("leaky(_relu|ReLU)"))])
def test_core_ml_files(tiny, tmp_path, kind, activation, says):
    import coremltools as ct
    import torch

    model = torch.jit.trace(changed(tiny, getattr(torch.nn, activation)), torch.zeros(1, 3, SIDE, SIDE))
    found = ct.convert(model, inputs=[ct.TensorType(shape=(1, 3, SIDE, SIDE))], convert_to=kind, skip_model_load=True)
    path = tmp_path / ("other.mlpackage" if kind == "mlprogram" else "other.mlmodel")
    found.save(str(path))
    with pytest.raises(NotANetworkError, match=says):
        read_source(path)


@pytest.mark.full
@pytest.mark.parametrize(
    ("activation", "says"), [("relu6", SIX), ("leaky_relu", SAYS.format("(LEAKY_RELU|LeakyRelu)"))]
)
def test_tensorflow_files(tiny, tmp_path, monkeypatch, activation, says):
    """A SavedModel, and what TensorFlow's converter makes of it: floats, and integers."""
    import numpy as np
    import tensorflow as tf

    monkeypatch.setattr(tf.nn, "relu", getattr(tf.nn, activation))
    saved = saved_model(tiny, tmp_path / "saved", (SIDE, SIDE))
    concrete = tensorflow_function(tiny, (SIDE, SIDE)).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    (tmp_path / "floats.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    noise = np.random.default_rng(0).standard_normal((1, SIDE, SIDE, 3)).astype(np.float32)
    converter.representative_dataset = lambda: [[noise]]
    (tmp_path / "integers.tflite").write_bytes(converter.convert())
    for path in (saved, tmp_path / "floats.tflite", tmp_path / "integers.tflite"):
        with pytest.raises(NotANetworkError, match=says):
            read_source(path)


@pytest.mark.full
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keras_files(tiny, tmp_path, suffix):
    """Under our own layers' names."""
    import json

    module = "keras" if suffix == ".keras" else "tf_keras"
    keras = keras_model.load_keras_module(module)
    model = keras_model.build(tiny, size=(SIDE, SIDE), module=module)
    config = json.loads(json.dumps(model.get_config()))
    for layer in config["layers"]:
        if layer["class_name"] == "ReLU":
            layer["config"]["max_value"] = 6.0
    other = keras.Model.from_config(config)
    other.set_weights(model.get_weights())
    other.save(tmp_path / f"other{suffix}")
    with pytest.raises(NotANetworkError, match=SIX):
        read_source(tmp_path / f"other{suffix}")
    model.save(tmp_path / f"right{suffix}")
    assert read_source(tmp_path / f"right{suffix}").fold().arch.blocks == tiny.arch.blocks
