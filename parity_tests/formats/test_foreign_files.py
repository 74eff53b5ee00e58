"""Files of other makers, made here as they make them: old ONNX exports, quantised TFLite, Keras under other names …"""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from support.agreement import identical, largest_relative
from support.lasting import full_for
from support.networks import SMALL, hard_checkpoint
from support.other_makers import saved_model

from converters import Options, convert
from converters.loading import read_source
from converters.verify.self_check import inspect
from u2net_zoo.checkpoint import Checkpoint

WHOLE = Options(size=(64, 64), outputs="all")


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


@pytest.fixture(scope="module")
def old_file(small, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return old_onnx(small, tmp_path_factory.mktemp("old") / "old.onnx", monkeypatch)


def test_an_old_folded_onnx_file_is_read(small, old_file):
    import onnx

    graph = onnx.load(old_file).graph
    assert not any("bn_s1" in tensor.name for tensor in graph.initializer)
    assert {"Shape", "Resize"} <= {node.op_type for node in graph.node}
    assert largest_relative(read_source(old_file), small) <= 1e-6


# What is read is one checkpoint, whoever wrote it; that each format writes it is shown in test_every_format.py.
@pytest.mark.parametrize("formats", ["pth,onnx,torchscript,ncnn", pytest.param("all", marks=pytest.mark.full)])
def test_an_old_folded_onnx_file_is_converted(old_file, tmp_path, formats):
    artifacts = convert(old_file, formats, tmp_path, options=Options(size=(64, 64)))
    assert len(artifacts) >= 4
    assert all(artifact.report.ok for artifact in artifacts)


def test_names_and_norms_in_onnx_are_kept(small, tmp_path, monkeypatch):
    import torch

    mode = torch.onnx.TrainingMode.PRESERVE
    path = old_onnx(small, tmp_path / "named.onnx", monkeypatch, training=mode, do_constant_folding=False)
    assert identical(read_source(path), small)


@pytest.fixture(scope="module")
def constants(small, tmp_path_factory):
    """A SavedModel as onnx2tf makes it: weights are constants in the graph, pads stand before the convolutions."""
    return saved_model(small, tmp_path_factory.mktemp("constants") / "saved", (32, 64))


@pytest.mark.parametrize("kind", ["int8", "fp16"])
def test_quantised_tflite_is_dequantised(small, constants, tmp_path, kind):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(constants))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    else:
        rng = np.random.default_rng(0)
        converter.representative_dataset = lambda: (
            [rng.standard_normal((1, 32, 64, 3)).astype(np.float32)] for _ in range(3)
        )
    (tmp_path / "q.tflite").write_bytes(converter.convert())
    found = read_source(tmp_path / "q.tflite")
    assert found.arch == small.arch
    # Measured on 2026-11-26: 4.5e-4; 1.2e-2, a bias in steps of the kernel's and the input's scales.
    assert largest_relative(found, small) < (2e-3 if kind == "fp16" else 2e-2)


def renamed(value, names: dict[str, str]):
    """`value` with the layers' names exchanged, wherever they stand as values."""
    if isinstance(value, dict):
        return {key: renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


@functools.cache
def stranger(module: str):
    """Another maker's Keras model: the same network under Keras' automatic names, norms with another eps."""
    from u2net_zoo import keras_model

    model = keras_model.build(hard_checkpoint(SMALL), size=(32, 32), module=module)
    config = model.get_config()
    names = {layer["config"]["name"]: f"layer{n:03d}" for n, layer in enumerate(config["layers"])}
    keras = keras_model.load_keras_module(module)
    other = keras.Model.from_config(renamed(json.loads(json.dumps(config)), names))
    other.set_weights(model.get_weights())
    return other


@pytest.mark.parametrize(
    ("module", "suffix"), full_for([("tf_keras", ".h5"), ("keras", ".keras"), ("keras", ".h5")], ("keras", ".h5"))
)
def test_keras_files_of_others_go_by_their_graph(small, tmp_path, module, suffix):
    stranger(module).save(tmp_path / f"other{suffix}")
    found = read_source(tmp_path / f"other{suffix}")
    assert found.arch == small.arch
    assert largest_relative(found, small) <= 1e-6


def test_a_savedmodel_without_variables_is_read_and_agrees(small, constants):
    assert variables_of(constants) == []
    found, agreement = inspect(constants)
    assert found.arch == small.arch
    assert largest_relative(found, small) <= 1e-6
    assert agreement.ok
    assert len(agreement.outputs) == 7


def variables_of(path: Path) -> list[str]:
    import tensorflow as tf

    names = [name for name, _ in tf.train.list_variables(str(path / "variables" / "variables"))]
    return [name for name in names if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]


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


@pytest.mark.parametrize("compression", [pytest.param("int8", marks=pytest.mark.full), "palette"])
def test_compressed_ml_programs_are_read(small, made, tmp_path, compression):
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    model = ct.models.MLModel(str(made.one("coreml", WHOLE).path), skip_model_load=True)
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
