"""The Keras model against the authors' own code, on every backend, fixed and free in size."""

import numpy as np
import pytest
from support.goldens import recorded
from support.hard_weights import hard_weights
from support.keras_backends import BACKENDS, agrees_with_torch, on_backend
from support.networks import SMALL, hard_checkpoint
from support.training import SHALLOW

from u2net_zoo import keras_model
from u2net_zoo.arch import two_level
from u2net_zoo.checkpoint import Checkpoint

# Two stages, fewer than any file may have: what is claimed of a graph costs by the layer.
LOW = two_level("low", [("4", 4, 8), ("4F", 4, 8)], [("4", 4, 8)])


@pytest.fixture(scope="module")
def low() -> Checkpoint:
    return Checkpoint.from_state(hard_weights(LOW.state_shapes(), 1, 1.0), arch=LOW)


def outputs(model, x):
    maps = [np.asarray(m).transpose(0, 3, 1, 2) for m in model(x.transpose(0, 2, 3, 1))]
    return dict(zip(model.output_names, maps, strict=True))


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_a_model_of_any_size_answers_the_authors_figures(module: str):
    """At an odd size in a batch of two, then at another one. Of one size: the files of every format, in `parity`."""
    golden = recorded("u2netp")
    model = keras_model.build(golden.checkpoint, module=module)
    for i in (1, 0):
        assert golden.beyond(i, outputs(model, golden.input(i))) == {}


@pytest.mark.full
@pytest.mark.parametrize("module", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", ["u2netp", "u2net", "isnet"])
def test_a_model_of_one_size_answers_the_figures(name: str, module: str):
    golden = recorded(name)
    for i in (0, 1):
        x = golden.input(i)
        model = keras_model.build(golden.checkpoint, size=x.shape[2:], module=module)
        assert golden.beyond(i, outputs(model, x)) == {}


def test_tensorflow_agrees_with_torch():
    """A plain call `model(x)` too, at odd sizes: Keras' Resizing would otherwise switch batch norm to training."""
    assert keras_model.load_keras_module().backend.backend() == "tensorflow"
    agrees_with_torch(SMALL, (33, 47))
    agrees_with_torch(SHALLOW, None)


@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_agree_with_torch(backend: str):
    on_backend(backend, "agrees_with_torch(training.SHALLOW, (33, 47), None)")


@pytest.mark.full
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_agrees_with_torch_in_six_stages(backend: str):
    on_backend(backend, "agrees_with_torch(networks.SMALL, (64, 32), (33, 47), None)")


@pytest.mark.full
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_answers_the_authors_figures(backend: str):
    on_backend(backend, "answers_the_figures('u2netp')")


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_a_fixed_size_model_has_built_in_layers_and_its_weights_come_back_bit_for_bit(module: str):
    checkpoint = hard_checkpoint(SMALL)
    model = keras_model.build(checkpoint, size=(33, 64), module=module)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {module}
    back = keras_model.state_of(model, SMALL)
    weights = {key for key in checkpoint.state if not key.endswith("num_batches_tracked")}
    assert set(back.state) == weights
    assert all(back.state[key].tobytes() == checkpoint.state[key].tobytes() for key in weights)


@pytest.mark.parametrize("module", ["keras", pytest.param("tf_keras", marks=pytest.mark.full)])
def test_a_size_free_model_learns_in_tensorflows_graph_from_pictures_of_several_sizes(low, module: str):
    import tensorflow as tf

    model = keras_model.build(low, outputs="mask", module=module)
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


def test_a_size_free_file_opens_again(low, tmp_path):
    model = keras_model.build(low, outputs="mask")
    model.save(tmp_path / "free.keras")
    keras = keras_model.load_keras_module()
    x = np.random.default_rng(0).standard_normal((1, 40, 51, 3)).astype(np.float32)
    again = keras.models.load_model(tmp_path / "free.keras")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
