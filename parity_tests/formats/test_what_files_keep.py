"""What a file keeps besides its weights: counters, whether logits come out, built-in layers alone, frozen norms."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.networks import SMALL, hard_checkpoint
from support.training import SHALLOW

from converters import FORMATS, Options, convert
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.torch_model import U2Net

ODD = (33, 47)  # no side is halved exactly, so that Keras resizes


def counted(key: str) -> bool:
    return key.endswith("num_batches_tracked")


@pytest.mark.parametrize("name", ["pth", "safetensors"])
def test_weights_without_counters_are_written_with_them(small, tmp_path, name):
    """A class in Torch takes them strictly: `load_state_dict` misses what is not there."""
    bare = Checkpoint(small.arch, {key: value for key, value in small.state.items() if not counted(key)})
    assert len(bare.state) < len(small.state)
    path = convert(bare, name, tmp_path, options=Options(size=(32, 32)))[0].path
    state = opened(path)
    U2Net(SMALL).load_state_dict(state, strict=True)
    assert {int(value) for key, value in state.items() if counted(key)} == {0}


def opened(path):
    import torch
    from safetensors.torch import load_file

    return torch.load(path, weights_only=True) if path.suffix == ".pth" else load_file(path)


@pytest.mark.parametrize(("name", "classes"), [("torchscript", 1), ("torchscript", 4), ("pt2", 4)])
def test_a_file_of_logits_is_read_as_one_of_logits(tmp_path, name, classes):
    """Torch's two archives hold code: a sigmoid is in it, or is not."""
    arch = replace(SHALLOW, out_ch=classes, final="none")
    path = written(hard_checkpoint(arch).with_final("none"), name, tmp_path, (32, 32))
    assert read_source(path).arch == arch


def written(checkpoint: Checkpoint, name: str, folder: Path, size: tuple[int, int]) -> Path:
    """A file of that format, without its proof."""
    fmt = FORMATS[name]
    path = folder / f"a{fmt.suffix}"
    fmt.write(checkpoint, path, fmt.settle(Options(size=size)))
    return path


# Keras 3 hands on `training=True` behind a Resizing, in a file that does not say otherwise.
@pytest.mark.parametrize(
    ("name", "module"),
    [("keras", "keras"), ("h5", "keras"), pytest.param("h5", "tf_keras", marks=pytest.mark.full)],
)
def test_stock_keras_opens_a_file_of_an_odd_size_and_answers_a_plain_call(name, module, tmp_path):
    checkpoint = hard_checkpoint(SHALLOW)
    path = written(checkpoint, name, tmp_path, ODD)
    x = np.random.default_rng(0).standard_normal((1, 3, *ODD)).astype(np.float32)
    wanted = TorchPredictor(checkpoint)(x)["mask"]
    model = importlib.import_module(module).models.load_model(path)
    kinds = {(type(layer).__module__.partition(".")[0], type(layer).__name__) for layer in model.layers}
    assert {home for home, _ in kinds} == {module}
    assert (module, "Resizing") in kinds
    assert model.input_shape == (None, *ODD, 3)
    for _ in range(2):  # statistics that the first call stored would show in the second
        found = np.asarray(model(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
