"""TFLite files that are integers to their ends, by TensorFlow's own converter: run by scale and zero, and read."""

from pathlib import Path

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint
from support.opening import Here
from support.other_makers import tensorflow_function
from support.quantising import few_photographs

from converters import FORMATS
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from converters.verify.self_check import inspect
from converters.verify.verifier import Verifier
from u2net_zoo import Session
from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.system import scratch_folder

SIZE = (32, 64)
KINDS = ["int8", pytest.param("uint8", marks=pytest.mark.full)]
WIDE = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"


def calibrated(checkpoint, ops: str):
    """TensorFlow's converter for a network, calibrated on noise."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    concrete = tensorflow_function(checkpoint, SIZE).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.standard_normal((1, *SIZE, 3)).astype(np.float32)] for _ in range(3)
    )
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, ops)]
    return converter


@pytest.fixture(scope="module")
def integers(small, store):
    """`integers(kind)`: inside it is int8 in any case."""

    def write(folder, kind):
        import tensorflow as tf

        converter = calibrated(small, "TFLITE_BUILTINS_INT8")
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
        (folder / "whole.tflite").write_bytes(converter.convert())
        return folder / "whole.tflite"

    return lambda kind: store.once(f"integers {kind}", lambda folder: write(folder, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_floats_go_in_and_come_out_by_scale_and_zero_point(integers, small, cat, kind):
    """Beside the interpreter fed by hand with integers; the masks are near the network's."""
    from ai_edge_litert.interpreter import Interpreter

    path = integers(kind)
    predictor = FORMATS["tflite"].run(path)
    x = np.random.default_rng(1).standard_normal((1, 3, *SIZE)).astype(np.float32)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    assert given["dtype"] is np.dtype(kind).type
    scale, zero = given["quantization"]
    limits = np.iinfo(kind)
    whole = np.clip(np.round(x.transpose(0, 2, 3, 1) / scale) + zero, limits.min, limits.max).astype(kind)
    interpreter.set_tensor(given["index"], whole)
    interpreter.invoke()
    answers = predictor(x)
    assert len(answers) == 7
    by_hand = []
    for detail in interpreter.get_output_details():
        scale, zero = detail["quantization"]
        by_hand.append((interpreter.get_tensor(detail["index"]).astype(np.float32) - zero) * scale)
    for answer in answers.values():
        assert (answer.dtype, answer.shape) == (np.float32, (1, 1, *SIZE))
        assert any(np.allclose(answer[0, 0], one[0, ..., 0], rtol=0, atol=1e-6) for one in by_hand)
    assert predictor.takes == f"{kind}, scale {given['quantization'][0]:.3g}, zero point {given['quantization'][1]}"
    assert Session(path, takes="normalised").mask(cat).size == cat.size


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_and_biases_are_read_back(integers, small, kind):
    """Kernels int8 per channel; biases int32 in steps of the product of two scales."""
    found = read_source(integers(kind))
    assert found.arch == small.arch
    assert found.meta["quantised"] == "int8 per channel in 119 of 119 convolutions"
    assert found.meta["arithmetic"] == "int8 in 119 of 119 convolutions"
    ours, right = found.fold().state, small.fold().state
    for key, value in right.items():
        if key.endswith("weight"):
            step = np.abs(value).max((1, 2, 3), keepdims=True) / 127
            assert (np.abs(ours[key] - value) <= 0.501 * step).all(), key
        else:
            assert np.abs(ours[key] - value).max() <= 5e-3, key


def test_activations_of_16_bits_are_told_and_read():
    """Kernels are int8 then, biases int64; floats go in and come out."""
    network = hard_checkpoint(TINY)
    with scratch_folder() as folder:
        path = Path(folder, "wide.tflite")
        path.write_bytes(calibrated(network, WIDE).convert())
        found = read_source(path)
        x = np.random.default_rng(1).standard_normal((1, 3, *SIZE)).astype(np.float32)
        answer = FORMATS["tflite"].run(path)(x)
    count = len(network.arch.units())
    assert found.meta["quantised"] == f"int8 per channel in {count} of {count} convolutions"
    assert found.meta["arithmetic"] == f"int16 activations in {count} of {count} convolutions"
    ours, right = found.fold().state, network.fold().state
    for key, value in right.items():
        step = np.abs(value).max((1, 2, 3), keepdims=True) / 127 if value.ndim == 4 else 1e-4
        assert (np.abs(ours[key] - value) <= 0.501 * step).all(), key
    torch = TorchPredictor(network)(x)
    near = [min(float(np.abs(each - right).mean()) for right in torch.values()) for each in answer.values()]
    assert max(near) < 0.02  # 0.0115 measured 2026-11-26, by kernels in 8 bits


@pytest.mark.full
def test_info_and_verify_say_that_it_takes_integers(integers, small):
    path = integers("int8")
    with few_photographs():
        agreement = inspect(path)[1]
        verdict = Verifier(small, PROFILES["paper"], {}, opened=Here).verify(path)
    assert "; takes int8, scale 0.0" in agreement.summary()
    assert verdict.takes.startswith("normalised tensor, as int8, scale 0.0")
    assert verdict.precision == "w8a8"
    assert verdict.diagnosis is None or "kernels of int8 per channel" in verdict.diagnosis.explanation.text()


def test_integers_without_a_scale_are_refused(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.uint8)])
    def same(image):
        return {"mask": tf.cast(image, tf.float32)[..., :1]}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([same.get_concrete_function()])
    (tmp_path / "pixels.tflite").write_bytes(converter.convert())
    with pytest.raises(ArtifactError, match=r"takes uint8 of shape \[1, 8, 8, 3\]; expected float32 pictures"):
        FORMATS["tflite"].run(tmp_path / "pixels.tflite")
