"""Broken and hostile files: one clear error or a correct network, no code run, nothing left behind."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.artifacts import ALL
from support.damage import KINDS, broken_copy
from support.lasting import full_for

from converters import FORMATS, Options
from converters.loading import format_of, read_source
from u2net_zoo import limits
from u2net_zoo.errors import ArtifactError, InputError, U2ZooError

WHOLE = Options(size=(64, 64), outputs="all")
EXAMPLES = 15  # for each format; scripts/fuzz_readers.py does thousands


@pytest.fixture(scope="module")
def whole(made) -> dict[str, Path]:
    """A small network in every format."""
    return {name: artifact.path for name, artifact in made(WHOLE).items()}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, 999), kind=st.sampled_from(KINDS), place=st.floats(0, 1), value=st.integers(0, 255))
@pytest.mark.parametrize("name", full_for(ALL, "h5", "keras", "mlmodel", "tflite"))
def test_a_broken_file_is_one_error_or_a_network(made, tmp_path_factory, name, which, kind, place, value):
    folder = tmp_path_factory.mktemp("broken")
    path = broken_copy(made.one(name, WHOLE).path, folder, which, kind, place, value)
    before = sorted(folder.rglob("*"))
    text = "a network"
    try:
        assert np.isfinite(read_source(path).state["side1.bias"]).all()
    except U2ZooError as error:
        text = str(error)
    assert text
    assert "\n" not in text
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", full_for(ALL, "h5", "keras", "mlmodel"))
def test_a_file_that_is_cut_off_does_not_run_and_says_so(made, tmp_path, name):
    """`run` itself, which `mask` and `verify` call without reading the weights first."""
    source = made.one(name, WHOLE).path
    files = sorted(file for file in source.rglob("*") if file.is_file() and file.stat().st_size)
    largest = max(range(len(files)), key=lambda n: files[n].stat().st_size, default=0)
    path = broken_copy(source, tmp_path, largest, "cut", 0.4, 0)
    with pytest.raises(InputError) as told:
        FORMATS[name].run(path)(np.zeros((1, 3, 64, 64), np.float32))
    assert "\n" not in str(told.value)


def test_a_cut_archive_is_not_called_an_hdf5_file(whole, tmp_path):
    path = broken_copy(whole["keras"], tmp_path, 0, "cut", 0.5, 0)
    with pytest.raises(ArtifactError, match="damaged or not a zip archive"):
        FORMATS["keras"].run(path)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True))
def test_tflite_gets_no_file_that_is_cut_off(made, tmp_path_factory, place):
    """Its interpreter follows offsets out of the file: it ends the process, or never ends."""
    path = broken_copy(made.one("tflite", WHOLE).path, tmp_path_factory.mktemp("cut"), 0, "cut", place, 0)
    with pytest.raises(ArtifactError, match=r"not a TFLite file|damaged TFLite file"):
        FORMATS["tflite"].run(path)


@pytest.mark.parametrize("name", ALL)
def test_a_tensor_of_another_size_is_refused(made, name):
    predictor = FORMATS[name].run(made.one(name, WHOLE).path)
    if predictor.size:
        with pytest.raises(ArtifactError, match="the model takes 64x64, got 32x64"):
            predictor(np.zeros((1, 3, 32, 64), np.float32))


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def rewritten(source: Path, target: Path, change: dict[str, bytes]) -> Path:
    """A copy of an archive with other contents for the members that end so."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            found = [content for end, content in change.items() if info.filename.endswith(end)]
            new.writestr(info.filename, found[0] if found else old.read(info))
    return target


@pytest.mark.parametrize("member", ["/data.pkl", "/constants.pkl"])
def test_a_pickle_in_torchscript_is_not_executed(whole, tmp_path, member):
    trap = tmp_path / "trap"
    code = pickle.dumps(Payload(trap), protocol=2)
    path = rewritten(whole["torchscript"], tmp_path / "evil.torchscript", {member: code})
    if member == "/data.pkl":
        with pytest.raises(InputError, match=r"damaged TorchScript|refused|not a U²-Net"):
            read_source(path)
    else:  # the constants of a module whose weights have names are not even looked at
        read_source(path)
    assert not trap.exists()


def test_torch_export_with_a_pickled_weight_is_refused(whole, tmp_path):
    name = "small/data/weights/model_weights_config.json"
    with zipfile.ZipFile(whole["pt2"]) as archive:
        config = json.loads(archive.read(name))
    config["config"]["side1.weight"]["use_pickle"] = True
    path = rewritten(whole["pt2"], tmp_path / "evil.pt2", {"model_weights_config.json": json.dumps(config).encode()})
    with pytest.raises(InputError, match=r"refused: weight_\d+ is a pickle"):
        read_source(path)


def external(whole: dict[str, Path], folder: Path, location: str) -> Path:
    """The ONNX file with its first kernel in another file."""
    import onnx

    model = onnx.load(whole["onnx"])
    kernel = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    content = kernel.raw_data
    kernel.ClearField("raw_data")
    kernel.data_location = onnx.TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value=location)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "inside.bin").write_bytes(content)
    (folder.parent / "outside.bin").write_bytes(content)
    return folder / "model.onnx"


def test_external_data_in_the_same_folder_is_read(whole, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    found = read_source(external(whole, folder, "inside.bin"))
    expected = read_source(whole["onnx"])
    assert all(np.array_equal(found.state[key], value) for key, value in expected.state.items())


@pytest.mark.parametrize("location", ["../outside.bin", "{absolute}", "link.bin", "", "sub/../../outside.bin"])
def test_external_data_elsewhere_is_refused(whole, tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    os.symlink(tmp_path / "outside.bin", folder / "link.bin")
    path = external(whole, folder, location.format(absolute=tmp_path / "outside.bin"))
    with pytest.raises(InputError, match=r"not in its own folder; refused|a link out of its own folder; refused"):
        read_source(path)


@pytest.mark.parametrize("name", ["keras", "torchscript", "pt2", "pth"])
def test_an_archive_that_unpacks_to_gigabytes_is_refused(whole, tmp_path, monkeypatch, name):
    monkeypatch.setattr(limits, "LARGEST", 4 << 20)
    path = tmp_path / whole[name].name
    with zipfile.ZipFile(whole[name]) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
        new.writestr("bomb", bytes(5 << 20))
    assert path.stat().st_size < 4 << 20
    with pytest.raises(InputError, match=r"the unpacked archive has \d+ bytes; no U²-Net needs more"):
        read_source(path)


def test_a_member_that_lies_about_its_size_is_refused(whole, tmp_path):
    path = rewritten(whole["keras"], tmp_path / "liar.keras", {"config.json": b" " * 100_000 + b"{}"})
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02", 0, content.rindex(b"config.json"))
    content[central + 24 : central + 28] = (500).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json: "):
        read_source(path)


def with_lambda(name: str, folder: Path) -> Path:
    """A model of Keras that would run code of ours when it is loaded or called."""
    import importlib

    module = "keras" if name == "keras" else "tf_keras"
    keras = importlib.import_module(module)
    image = keras.layers.Input((8, 8, 3))
    maps = keras.layers.Lambda(lambda x: x * 2)(keras.layers.Conv2D(2, 3)(image))
    path = folder / f"lambda.{name}"
    keras.Model(image, maps).save(path)
    return path


@pytest.mark.parametrize("name", ["keras", "h5"])
def test_a_lambda_is_neither_made_nor_run(tmp_path, name):
    path = with_lambda(name, tmp_path)
    with pytest.raises(InputError, match="not a U²-Net: 1 convolutions"):
        read_source(path)
    with pytest.raises(ArtifactError, match="layers that are not Keras' own plain ones: Lambda"):
        format_of(path).run(path)


def test_a_foreign_class_is_not_looked_for(whole, tmp_path):
    with zipfile.ZipFile(whole["keras"]) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][3].update(class_name="Popen", module="subprocess", registered_name="Popen")
    path = rewritten(whole["keras"], tmp_path / "foreign.keras", {"config.json": json.dumps(config).encode()})
    with pytest.raises(ArtifactError, match="Popen"):
        FORMATS["keras"].run(path)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
def test_hdf5_that_points_elsewhere_is_refused(whole, tmp_path, kind):
    import h5py

    other, path = tmp_path / "other.h5", tmp_path / "pointing.h5"
    path.write_bytes(whole["h5"].read_bytes())
    name = "stage1_rebnconvin_conv_s1/stage1_rebnconvin_conv_s1"
    with h5py.File(path, "r+") as file, h5py.File(other, "w") as elsewhere:
        group = file["model_weights"][name]
        leaf = next(key for key in group if key.startswith("bias"))
        elsewhere["x"] = group[leaf][()]
        shape = group[leaf].shape
        del group[leaf]
        if kind == "external link":
            group[leaf] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "soft link":
            group[leaf] = h5py.SoftLink("/model_weights")
        elif kind == "external storage":
            group.create_dataset(leaf, shape, "f4", external=[("other.h5", 0, 4 * shape[0])])
        else:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource("other.h5", "x", shape)
            group.create_virtual_dataset(leaf, layout)
    with pytest.raises(InputError, match=r"a link, or storage outside the file itself; refused"):
        read_source(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(whole, tmp_path, encoding):
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE net [<!ENTITY l0 "ha">{laughs}]><net>&l11;</net>'
    (tmp_path / "model.xml").write_bytes(text.encode(encoding))
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"document type|damaged \.xml"):
        read_source(tmp_path / "model.xml")
    with pytest.raises(ArtifactError):
        FORMATS["openvino"].run(tmp_path / "model.xml")


def test_a_package_that_points_out_of_itself_is_refused(whole, tmp_path):
    import shutil

    path = tmp_path / "small.mlpackage"
    shutil.copytree(whole["coreml"], path)
    manifest = json.loads((path / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = "../../outside.mlmodel"
    (path / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="leaves the package"):
        read_source(path)


def test_a_graph_that_writes_files_is_not_run(tmp_path):
    import tensorflow as tf

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)])
        def __call__(self, image):
            tf.io.write_file(str(tmp_path / "trap"), "written")
            return {"mask": image[..., :1]}

    model, path = Writer(), tmp_path / "evil_savedmodel"
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.__call__})
    with pytest.raises(InputError, match="not a U²-Net"):
        read_source(path)
    with pytest.raises(ArtifactError, match="ops that no U²-Net needs: WriteFile"):
        FORMATS["savedmodel"].run(path)
    assert not (tmp_path / "trap").exists()
