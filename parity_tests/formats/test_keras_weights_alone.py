"""Weights alone of a Keras model that somebody else built, under Keras' own names: `conv2d`, `conv2d_1` …"""

from pathlib import Path
from typing import Any

import pytest
from support.agreement import identical
from support.artifacts import nano
from support.commands import called
from support.keras_strangers import Strangers
from support.lasting import full_for
from support.networks import SMALL, hard_checkpoint

from converters import FORMATS
from converters.loading import read_source
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError


def stored(path: Path, checkpoint: Checkpoint, *how: str, **more: Any) -> Path:
    Strangers(*how, **more).build(checkpoint).save_weights(path)
    return path


@pytest.fixture(scope="module")
def interleaved(tmp_path_factory) -> Path:
    return stored(tmp_path_factory.mktemp("interleaved") / "w.weights.h5", nano(), "keras", "interleaved")


def test_sides_among_the_decoder_are_told_apart(interleaved):
    found = read_source(interleaved)
    assert found.arch == nano().arch
    assert identical(found, nano())


FULL = pytest.mark.full


# In Keras 2 `.h5` keeps the layers' order, `.weights.h5` their classes and counts, as both do in Keras 3.
@pytest.mark.parametrize(("module", "suffix", "how"), [
    pytest.param("tf_keras", ".h5", ("reversed", "once", "reversed"), marks=FULL),
    pytest.param("tf_keras", ".h5", ("end", "once", "forward"), marks=FULL),
    pytest.param("tf_keras", ".weights.h5", ("end", "steps", "forward"), marks=FULL),
    pytest.param("tf_keras", ".weights.h5", ("interleaved", "once", "reversed"), marks=FULL),
    pytest.param("keras", ".weights.h5", ("end", "once", "forward"), marks=FULL),
    pytest.param("keras", ".weights.h5", ("reversed", "steps", "reversed"), marks=FULL),
])  # fmt: skip
def test_sides_in_any_order_come_to_their_stages(tmp_path, module, suffix, how):
    found = read_source(stored(tmp_path / f"w{suffix}", nano(), module, *how))
    assert found.arch == nano().arch
    assert identical(found, nano())


def test_what_was_decided_is_said(interleaved, tmp_path):
    shown = called("info", interleaved, "--no-run")
    assert shown.returncode == 0, shown.stderr
    done = called("convert", interleaved, "--to", "safetensors", "--size", "64", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    for text in (shown.stderr, done.stderr):
        assert (
            f"warning: {interleaved}: the file does not say which side output is which; decided on photographs" in text
        )
        assert f"warning: {interleaved}: the epsilon of its norms is not in the file; 1e-05 is taken" in text


def test_weights_alone_are_run_in_torch(interleaved):
    assert FORMATS["h5"].run(interleaved).outputs == nano().arch.outputs


def test_weights_that_do_not_tell_are_refused(tmp_path):
    """No mask comes of these weights, so none of the orders is better than another."""
    with pytest.raises(CheckpointError, match=r"does not say which layer is which.*model\.save\('model\.keras'\)"):
        read_source(stored(tmp_path / "w.weights.h5", hard_checkpoint(SMALL), "keras"))


@pytest.mark.parametrize("module", full_for(["keras", "tf_keras"], "tf_keras"))
def test_our_own_weights_go_by_name_where_they_have_any(small, tmp_path, module):
    """`.weights.h5` of Keras 2 has none."""
    from u2net_zoo import keras_model

    path = tmp_path / ("w.h5" if module == "tf_keras" else "w.weights.h5")
    keras_model.build(small, size=(32, 32), module=module).save_weights(path)
    found = read_source(path)
    assert found.arch == small.arch
    assert identical(found, small)
    assert ["which blocks are dilated" in line for line in found.assumed] == [True]  # nothing of their order
