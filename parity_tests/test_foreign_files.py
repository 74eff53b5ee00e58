"""Files of other makers, made here as they make them: old ONNX exports, quantised TFLite, Keras under other names …"""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from test_readers import identical, largest_relative

from converters import FORMATS, Options, convert
from converters.sources import read_source
from u2net_zoo.checkpoint import Checkpoint


class Upsampling:
    """The authors' own upsampling, to the skip's size as it is traced: Shape, Gather and Concat in the graph."""

    def __init__(self, monkeypatch):
        import torch.nn.functional as F

        from u2net_zoo import torch_model

        monkeypatch.setattr(
            torch_model._TorchOps,
            "upsample",
            lambda ops, x, like: F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False),
        )


def old_onnx(checkpoint: Checkpoint, path: Path, monkeypatch, **options) -> Path:
    """As the authors' class is exported at opset 11 with constant folding: nameless folded kernels."""
    import torch

    from u2net_zoo import torch_model

    with monkeypatch.context() as patch:
        Upsampling(patch)
        torch.onnx.export(
            torch_model.build(checkpoint),
            (torch.zeros(1, 3, 64, 64),),
            str(path),
            opset_version=11,
            dynamo=False,
            **options,
        )
    return path


def test_an_old_folded_onnx_file_converts_to_everything(small, tmp_path, monkeypatch):
    import onnx

    path = old_onnx(small, tmp_path / "old.onnx", monkeypatch)
    graph = onnx.load(path).graph
    assert not any("bn_s1" in tensor.name for tensor in graph.initializer)
    assert {"Shape", "Resize"} <= {node.op_type for node in graph.node}
    assert largest_relative(read_source(path), small) <= 1e-6
    for artifact in convert(path, "all", tmp_path / "out", options=Options(size=(64, 64))):
        assert artifact.report.ok


def test_names_and_norms_in_onnx_are_kept(small, tmp_path, monkeypatch):
    import torch

    mode = torch.onnx.TrainingMode.PRESERVE
    path = old_onnx(small, tmp_path / "named.onnx", monkeypatch, training=mode, do_constant_folding=False)
    assert identical(read_source(path), small)


@pytest.mark.parametrize("kind", ["int8", "fp16"])
def test_quantised_tflite_is_dequantised(small, tmp_path, kind):
    import tensorflow as tf

    FORMATS["savedmodel"].write(small, tmp_path / "saved", FORMATS["savedmodel"].settle(Options(size=(32, 32))))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    else:
        rng = np.random.default_rng(0)
        converter.representative_dataset = lambda: (
            [rng.standard_normal((1, 32, 32, 3)).astype(np.float32)] for _ in range(3)
        )
    (tmp_path / "q.tflite").write_bytes(converter.convert())
    found = read_source(tmp_path / "q.tflite")
    assert found.arch == small.arch
    assert largest_relative(found, small) < (2e-3 if kind == "fp16" else 2e-2)


def renamed(value, names: dict[str, str]):
    """`value` with the layers' names exchanged, wherever they stand as values."""
    if isinstance(value, dict):
        return {key: renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def stranger(module: str, arch, checkpoint: Checkpoint):
    """Another maker's Keras model: the same network under Keras' automatic names, norms with another eps."""
    from u2net_zoo import keras_model

    model = keras_model.build(checkpoint, size=(32, 32), module=module)
    config = model.get_config()
    names = {layer["config"]["name"]: f"layer{n:03d}" for n, layer in enumerate(config["layers"])}
    keras = keras_model.load_keras_module(module)
    other = keras.Model.from_config(renamed(json.loads(json.dumps(config)), names))
    other.set_weights(model.get_weights())
    return other


@pytest.mark.parametrize(("module", "suffix"), [("tf_keras", ".h5"), ("keras", ".keras"), ("keras", ".h5"),
                                                ("tf_keras", ".weights.h5"), ("keras", ".weights.h5")])  # fmt: skip
def test_keras_files_of_others_go_by_shape_and_order(small, tmp_path, module, suffix):
    model = stranger(module, SMALL, small)
    path = tmp_path / f"other{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    found = read_source(path)
    assert found.arch == small.arch
    if suffix != ".weights.h5":  # which does not tell the eps of its norms: Keras' default, another one, is taken
        assert largest_relative(found, small) <= 1e-6


@pytest.mark.parametrize("name", ["savedmodel", "tflite"])
def test_onnx2tf_is_a_second_route_to_the_same_network(small, tmp_path, name):
    """At a size where no map is as high or wide as it has channels: onnx2tf tells the axes apart by their lengths."""
    artifact = convert(small, name, tmp_path, options=Options(size=(160, 224), outputs="all", via="onnx2tf"))[0]
    assert artifact.report.ok
    assert {output.name for output in artifact.report.outputs} == set(SMALL.outputs)
    assert largest_relative(read_source(artifact.path), small) <= 1e-6  # a SavedModel's are constants in its graph


def test_a_frozen_torchscript_module_is_read_from_its_code(small, tmp_path):
    import torch

    from u2net_zoo import torch_model

    traced = torch.jit.trace(torch_model.build(small), torch.zeros(1, 3, 32, 32), check_trace=False)
    torch.jit.freeze(traced).save(str(tmp_path / "frozen.pt"))
    found = read_source(tmp_path / "frozen.pt")
    assert found.meta["format"] == "torchscript"
    assert largest_relative(found, small) <= 1e-6


@pytest.mark.parametrize("bits", [32, 16, 8, 6, "table 8"], ids=str)
def test_the_old_core_ml_network_is_read(small, tmp_path, neural_network, bits):
    """A neural network, plain or with its weights compressed as coremltools does it."""
    from coremltools.models.neural_network.quantization_utils import quantize_weights

    mode = "linear_lut" if isinstance(bits, str) else "linear"
    depth = int(str(bits).split()[-1])
    model = neural_network if depth == 32 else quantize_weights(neural_network, depth, mode)
    spec = model if depth != 32 and not hasattr(model, "get_spec") else model.get_spec()
    (tmp_path / "old.mlmodel").write_bytes(spec.SerializeToString())
    found = read_source(tmp_path / "old.mlmodel")
    assert found.arch == small.arch
    bound = {32: 1e-6, 16: 1e-3, 8: 1e-2, 6: 5e-2}[depth] * (4 if mode == "linear_lut" else 1)
    assert largest_relative(found, small) <= bound


@pytest.fixture(scope="module")
def neural_network(small):
    import coremltools as ct
    import torch

    from u2net_zoo import torch_model

    traced = torch.jit.trace(torch_model.build(small.fold(), outputs="mask"), torch.zeros(1, 3, 32, 32))
    return ct.convert(traced, inputs=[ct.TensorType(shape=(1, 3, 32, 32))], convert_to="neuralnetwork")


@pytest.mark.parametrize("compression", ["int8", "palette"])
def test_compressed_ml_programs_are_read(small, tmp_path, compression):
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    package = FORMATS["coreml"]
    package.write(small, tmp_path / "a.mlpackage", package.settle(Options(size=(32, 32))))
    model = ct.models.MLModel(str(tmp_path / "a.mlpackage"), skip_model_load=True)
    if compression == "int8":
        config = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=64))
        model = cto.linear_quantize_weights(model, config)
    else:
        config = cto.OptimizationConfig(cto.OpPalettizerConfig(mode="uniform", nbits=8, weight_threshold=64))
        model = cto.palettize_weights(model, config)
    model.save(str(tmp_path / "b.mlpackage"))
    found = read_source(tmp_path / "b.mlpackage")
    assert found.arch == small.arch
    assert 1e-6 < largest_relative(found, small) < 2e-2
