"""The Keras model against the authors' own code, on every backend, fixed and free in size."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, Golden, hard_checkpoint
from training import SHALLOW

from u2net_zoo import keras_model

BACKENDS = ("tensorflow", "jax", "torch")


def outputs(model, x):
    return [np.asarray(m).transpose(0, 3, 1, 2) for m in model(x.transpose(0, 2, 3, 1))]


@pytest.mark.parametrize("size_free", [False, True])
@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_outputs_are_the_authors(u2netp_golden: Golden, module: str, size_free: bool):
    for i in (0, 1):
        x = u2netp_golden.input(i)
        size = None if size_free else x.shape[2:]
        model = keras_model.build(u2netp_golden.checkpoint, size=size, module=module)
        expected = u2netp_golden.outputs(i)
        for name, result, noise in zip(expected, outputs(model, x), u2netp_golden.noise(i), strict=True):
            assert np.abs(result - expected[name]).max() <= 3 * noise + 1e-6, name


def test_full_u2net_outputs_are_the_authors():
    golden = Golden("u2net")
    x = golden.input(1)
    model = keras_model.build(golden.checkpoint, size=x.shape[2:], module="keras")
    for (name, expected), result, noise in zip(
        golden.outputs(1).items(), outputs(model, x), golden.noise(1), strict=True
    ):
        assert np.abs(result - expected).max() <= 3 * noise + 1e-6, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_agrees_with_torch(backend: str):
    """A plain call `model(x)` too, at odd sizes: Keras' Resizing would otherwise switch batch norm to training."""
    script = """
import numpy as np, torch
from conftest import SMALL, hard_checkpoint
from u2net_zoo import keras_model, torch_model
checkpoint = hard_checkpoint(SMALL)
for size in ((64, 32), (33, 47), None):
    x = np.random.default_rng(0).standard_normal((2, 3, *(size or (70, 41)))).astype(np.float32)
    with torch.inference_mode():
        exact, single = (
            [m.numpy() for m in torch_model.build(checkpoint, dtype=dtype)(torch.from_numpy(x).to(dtype))]
            for dtype in (torch.float64, torch.float32)
        )
    model = keras_model.build(checkpoint, size=size)
    for _ in range(2):
        results = model(x.transpose(0, 2, 3, 1))
        results = [r.detach().cpu().numpy() if hasattr(r, "detach") else np.asarray(r) for r in results]
        for result, expected, float32 in zip(results, exact, single):
            error, noise = (np.abs(r - expected).max() for r in (result.transpose(0, 3, 1, 2), float32))
            assert error <= 3 * noise + 1e-6, (size, error, noise)
back = keras_model.state_of(model, checkpoint.arch)
assert all(back.state[k].tobytes() == checkpoint.state[k].tobytes() for k in back.state)
"""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_weights_come_back_bit_for_bit(module: str):
    checkpoint = hard_checkpoint(SMALL)
    back = keras_model.state_of(keras_model.build(checkpoint, size=(32, 32), module=module), SMALL)
    weights = {key for key in checkpoint.state if not key.endswith("num_batches_tracked")}
    assert set(back.state) == weights
    assert all(back.state[key].tobytes() == checkpoint.state[key].tobytes() for key in weights)


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_a_fixed_size_model_has_built_in_layers_only(module: str):
    model = keras_model.build(hard_checkpoint(SMALL), size=(33, 64), module=module)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {module}


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_a_size_free_model_learns_in_tensorflows_graph_from_pictures_of_several_sizes(module: str):
    import tensorflow as tf

    model = keras_model.build(hard_checkpoint(SHALLOW), outputs="mask", module=module)
    x = np.random.default_rng(0).standard_normal((2, 40, 37, 3)).astype(np.float32)
    run = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, None, None, 3))])
    assert run.get_concrete_function().output_shapes.as_list()[1:3] == [None, None]
    for picture in (x, x[:, :32, :21]):
        np.testing.assert_allclose(run(picture), model(picture), atol=1e-6)
    model.compile("sgd", loss="binary_crossentropy", jit_compile=False)
    spec = [tf.TensorSpec((None, None, None, channels)) for channels in (3, 1)]
    data = [(picture, np.ones((*picture.shape[:3], 1), np.float32)) for picture in (x, x[:, :32, :21])]
    history = model.fit(tf.data.Dataset.from_generator(lambda: data, output_signature=tuple(spec)), verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_a_size_free_file_opens_again(tmp_path):
    checkpoint = hard_checkpoint(SMALL)
    model = keras_model.build(checkpoint, outputs="mask")
    model.save(tmp_path / "free.keras")
    keras = keras_model.load_keras_module()
    x = np.random.default_rng(0).standard_normal((1, 40, 51, 3)).astype(np.float32)
    again = keras.models.load_model(tmp_path / "free.keras")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
