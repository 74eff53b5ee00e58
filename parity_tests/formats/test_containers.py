"""Files whose names do not say what they are, and files that are no model: known by their content."""

import argparse
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from support.agreement import identical
from support.artifacts import ALL, nano
from support.commands import called
from support.data import NANO

from converters import FORMATS, Options
from converters.loading import format_of, read_source, stem_of
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, InputError, OptionError
from u2net_zoo.reading import read_checkpoint


@pytest.fixture(scope="module")
def tensors() -> dict:
    return {key: torch.from_numpy(np.array(value)) for key, value in nano().full_state().items()}


def renamed(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    return target


@pytest.mark.parametrize("name", ["w.ckpt", "w.pth.tar", "pytorch_model.bin", "weights", "w.safetensors"])
def test_a_torch_file_is_one_under_any_name(tmp_path, tensors, name):
    torch.save(tensors, tmp_path / name)
    assert format_of(tmp_path / name).name == "pth"
    assert identical(read_source(tmp_path / name), nano())


def test_stems():
    assert stem_of("a/model.pth.tar") == "model"


@pytest.mark.parametrize("name", ["w.pth", "weights", "w.h5"])
def test_safetensors_are_known_under_any_name(tmp_path, name):
    path = renamed(NANO, tmp_path / name)
    assert format_of(path).name == "safetensors"
    assert identical(read_source(path), nano())
    assert identical(read_checkpoint(path), nano())


ONE_FILE = [name for name in ALL if FORMATS[name].has_graph and FORMATS[name].signature]


@pytest.mark.parametrize("name", [n if n == "onnx" else pytest.param(n, marks=pytest.mark.full) for n in ONE_FILE])
def test_models_are_known_under_another_name(made, small, tmp_path, name):
    path = renamed(made.one(name, Options(size=(64, 64), outputs="all")).path, tmp_path / "model.pth")
    assert format_of(path).name == name
    assert read_source(path).arch == small.arch
    assert format_of(path).run(path)(np.zeros((1, 3, 64, 64), np.float32))


class Settings(dict):
    """A class of somebody's code."""


BESIDE = {
    "optimizer": lambda: {"state": {0: {"step": torch.zeros(1), "exp_avg": torch.ones(3)}}},
    "Namespace": lambda: argparse.Namespace(lr=1e-3, crop=(320, 320)),
    "NumPy": lambda: {"loss": np.float64(0.5), "epoch": np.int64(3), "curve": np.ones(3)},
    "path": lambda: Path("runs/1"),
}


@pytest.mark.parametrize(("key", "prefix"), [("state_dict", "net.module."), ("model", ""), ("ema", "module."),
                                             ("generator", "model.net.module.")])  # fmt: skip
def test_training_files_give_their_network(tmp_path, tensors, key, prefix):
    state = {f"{prefix}{name}": value for name, value in tensors.items()}
    torch.save({key: state, "epoch": 3, **{name: make() for name, make in BESIDE.items()}}, tmp_path / "last.ckpt")
    assert identical(read_source(tmp_path / "last.ckpt"), nano())


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_of_another_class_are_refused(tmp_path, tensors, zipped):
    torch.save({"net": tensors, "s": Settings()}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert_refused(tmp_path / "w.pth", r"refused: .*asks to import .*Settings, which may run code; .*torch\.save\(")


def assert_refused(path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern) as raised:
        read_source(path)
    text = str(raised.value)
    assert "\n" not in text
    assert "\x1b" not in text
    assert "weights_only` argument" not in text
    assert len(text) < 400


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_model_is_refused_with_what_to_do(tmp_path, zipped, inside):
    model = {"model": Small(), "epoch": 1} if inside else Small()
    torch.save(model, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    assert_refused(tmp_path / "whole.pth", r"a whole pickled model \(class .*Small\).*state_dict\(\), 'weights.pth'\)")


NO_MODELS = {
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4710000\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "page": (b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning", "a web page.*browser"),
    "old page": (b"<HTML><body>", "a web page"),
    "empty": (b"", "the file is empty.*[Ff]etch it again"),
    "gzip": (b"\x1f\x8b\x08\0abc", "packed by gzip; unpack it"),
}


@pytest.mark.parametrize("kind", NO_MODELS)
def test_what_stands_in_a_models_place_is_named(tmp_path, kind):
    content, pattern = NO_MODELS[kind]
    for suffix in ["", *(fmt.suffix for fmt in FORMATS.values() if not fmt.is_folder)]:
        (tmp_path / f"w{suffix}").write_bytes(content)
        assert_refused(tmp_path / f"w{suffix}", pattern)


def test_a_tar_archive_is_told_to_be_unpacked(tmp_path):
    with tarfile.open(tmp_path / "w.pth.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("w.pth"), io.BytesIO())
    assert_refused(tmp_path / "w.pth.tar", r"a tar archive; unpack it \(tar -xf w\.pth\.tar\)")


@pytest.fixture(scope="module")
def two(tmp_path_factory, tensors) -> Path:
    folder = tmp_path_factory.mktemp("two")
    other = {f"module.{key}": value + 1 for key, value in tensors.items()}
    torch.save({"model": tensors, "ema": other, "optimizer": {}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def test_two_networks_are_told_apart_by_a_key(two):
    assert_refused(two, r"holds 2 networks \(ema\.module, model\).*--key")
    assert identical(read_source(two, "model"), nano())
    shifted = Checkpoint.from_state({key: value + 1 for key, value in nano().state.items()})
    assert identical(read_source(two, "ema"), shifted)
    assert identical(read_source(two, "ema.module"), shifted)
    with pytest.raises(CheckpointError, match=r"holds no network 'teacher'; it has: ema\.module, model"):
        read_source(two, "teacher")


def test_a_key_on_the_command_line(two, tmp_path):
    done = called("convert", two, "--to", "safetensors", "--size", "64", "--key", "model", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert identical(read_source(tmp_path / "last.safetensors"), nano())
    assert called("info", two, "--key", "ema").returncode == 0


def test_a_key_for_a_file_of_one_network(made):
    with pytest.raises(OptionError, match="holds one network; --key names one of several"):
        read_source(made.one("onnx", Options(size=(64, 64), outputs="all")).path, "ema")


def tensorflow_js(folder: Path, kind: str) -> Path:
    folder.mkdir()
    (folder / "model.json").write_text(f'{{"format": "{kind}", "modelTopology": {{}}}}')
    return folder


UNREAD = {
    "mlmodelc": (lambda f: (f / "m.mlmodelc").mkdir() or f / "m.mlmodelc", r"compiled.*name the \.mlpackage"),
    "frozen graph": (lambda f: (f / "g.pb").write_bytes(b"\n\x05") and f / "g.pb", r"frozen TensorFlow graph.*tf2onnx"),
    "layers": (lambda f: tensorflow_js(f / "js", "layers-model"), r"tensorflowjs_converter .*js.model\.json model\.h5"),
    "graph": (
        lambda f: tensorflow_js(f / "js", "graph-model") / "model.json",
        "a TensorFlow.js graph; name the SavedModel",
    ),
    "saved_model.pb": (lambda f: (f / "saved_model.pb").write_bytes(b"x") and f / "saved_model.pb", "name its folder"),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_models_that_are_not_read_are_named(tmp_path, kind):
    make, pattern = UNREAD[kind]
    assert_refused(make(tmp_path), pattern)


@pytest.mark.parametrize("name", ["run/w", "run/w.index", "run/w.data-00000-of-00001", "run"])
def test_a_tensorflow_checkpoint_is_named(tmp_path, name):
    import tensorflow as tf

    tf.train.Checkpoint(v=tf.Variable(1.0)).write(str(tmp_path / "run" / "w"))
    assert_refused(tmp_path / name, r"a TensorFlow checkpoint.*load_weights\('.*run/w'\)")


def test_a_core_ml_pipeline_is_named(tmp_path):
    from converters.mil import proto

    model = proto.load("Model_pb2").Model(specificationVersion=4)
    model.pipeline.models.add().specificationVersion = 4
    (tmp_path / "p.mlmodel").write_bytes(model.SerializeToString())
    assert_refused(
        tmp_path / "p.mlmodel", r"a Core ML pipeline of 1 models; .*pipeline\.models\[N\], 'network\.mlmodel'"
    )


def test_h5_by_keras_3_is_run_by_keras_3(small, tmp_path):
    from u2net_zoo import keras_model

    keras_model.build(small, size=(32, 32)).save(tmp_path / "three.h5")
    assert identical(read_source(tmp_path / "three.h5"), small)
    assert set(FORMATS["h5"].run(tmp_path / "three.h5").outputs) == set(small.arch.outputs)
