"""Image in, mask out: a profile in the graph of an artifact answers as the profile in Python, on the same pixels."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.agreement import near
from support.artifacts import CAN_PICTURE
from support.networks import TINY, hard_checkpoint
from support.photographs import photograph

from converters import FORMATS, Options, convert
from converters.embedded import KEY, embedded_of, read_embedded
from converters.loading import read_source
from converters.mil import Package
from converters.parity import picture_of
from converters.torch_predictor import TorchPredictor
from u2net_zoo import Session
from u2net_zoo.arch import two_level
from u2net_zoo.errors import ArtifactError, OptionError, ParityError, UnknownNameError
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 96)
CLASSES = replace(TINY, out_ch=4, final="none")


def pixels(size=SIZE) -> np.ndarray:
    return PROFILES["paper"].pixels(photograph("chelsea.png"), size)


def run(artifact, picture: np.ndarray) -> np.ndarray:
    return FORMATS[artifact.format].run(artifact.path)(picture.transpose(2, 0, 1)[None])["mask"][0, 0]


@pytest.fixture(scope="module")
def pictured(made):
    """An artifact of each format."""
    return {name: made.one(name, Options(io="image", size=SIZE)) for name in CAN_PICTURE}


@pytest.mark.parametrize("name", CAN_PICTURE)
def test_pixels_give_the_profiles_mask(pictured, small, name):
    """On a photograph that the gate has not seen."""
    artifact = pictured[name]
    assert artifact.report.pixels.near >= 0.995
    picture = pixels()
    wanted = picture_of(TorchPredictor(small), embedded_of(small.arch, artifact.options), picture)
    got = run(artifact, picture)
    assert (got.shape, got.dtype) == (SIZE, np.uint8)
    assert near(got, wanted) >= 0.995
    assert np.ptp(got) == 255  # stretched


@pytest.mark.parametrize("name", CAN_PICTURE)
def test_a_black_photograph_and_an_empty_mask_are_no_noise(pictured, name):
    assert np.isfinite(run(pictured[name], np.zeros((*SIZE, 3), np.uint8))).all()


def test_an_empty_mask_stays_empty(tmp_path):
    """d0 that varies by less than a grey level is not stretched to a full mask: here the fusion's weights are tiny."""
    checkpoint = hard_checkpoint(TINY)
    state = {key: value * 1e-6 if key.startswith("outconv") else value for key, value in checkpoint.state.items()}
    artifact = convert(replace(checkpoint, state=state), "onnx", tmp_path, options=Options(io="image", size=SIZE))[0]
    assert run(artifact, pixels()).max() <= 1


@pytest.mark.parametrize("name", CAN_PICTURE)
def test_the_weights_come_back_out(pictured, small, name):
    found, wanted = read_source(pictured[name].path).fold().state, small.fold().state
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in wanted.items()}
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", CAN_PICTURE)
def test_a_session_reads_the_profile_from_the_file_and_normalises_nothing_twice(pictured, small, name):
    cat = photograph("chelsea.png")
    session = Session(pictured[name].path, profile="isnet")  # what the file says counts
    assert session.profile.name == "paper"
    wanted = Session(small).predictor
    d0 = wanted(PROFILES["paper"].normalised(pixels()))["mask"][0, 0]
    mask = session.mask(cat)
    assert mask.size == cat.size
    assert near(np.asarray(mask), np.asarray(PROFILES["paper"].mask(d0, cat.size))) >= 0.995


@pytest.mark.parametrize("name", ["portrait", "isnet", "isnet-anime", "sky", "rembg"])
def test_every_profiles_ending_is_in_the_graph(made, name):
    artifact = made.one("onnx", Options(io="image", size=SIZE, profile=name))
    assert artifact.report.pixels.near >= 0.995
    assert Session(artifact.path).profile.name == name


def test_logits_of_a_mask_go_through_the_sigmoid_in_the_graph(tmp_path):
    logits = hard_checkpoint(TINY).with_final("none")
    options = Options(io="image", size=SIZE, profile="isnet-anime")
    assert embedded_of(logits.arch, options).sigmoid
    assert convert(logits, "onnx", tmp_path, options=options)[0].report.ok


@pytest.mark.parametrize("name", ["onnx", "coreml"])
def test_classes_come_out_as_a_class_map_with_names(tmp_path, name):
    checkpoint = hard_checkpoint(CLASSES).with_meta(classes=json.dumps(["background", "coat", "trousers", "dress"]))
    artifact = convert(checkpoint, name, tmp_path, options=Options(io="image", size=SIZE, profile="cloth"))[0]
    assert artifact.report.pixels.near >= 0.995
    assert set(np.unique(run(artifact, pixels()))) <= {0, 1, 2, 3}
    assert Session(artifact.path).mask(photograph("chelsea.png")).mode == "P"
    if name == "coreml":
        metadata = Package.open(artifact.path).metadata
        assert json.loads(metadata["com.apple.coreml.model.preview.params"])["labels"][1] == "coat"


def test_without_minmax_the_probability_itself_comes_out(small, made):
    artifact = made.one("onnx", Options(io="image", size=SIZE, stretch=False))
    d0 = TorchPredictor(small)(PROFILES["paper"].normalised(pixels()))["mask"][0, 0]
    assert (np.abs(run(artifact, pixels()).astype(int) - (d0 * 255)) <= 1.01).mean() >= 0.995


def test_a_core_ml_package_says_what_an_app_developer_asks(pictured):
    package = Package.open(pictured["coreml"].path)
    metadata = package.metadata
    assert package.inputs["image"].colour == "rgb"
    assert package.outputs["mask"].colour == "grayscale"
    assert package.spec_version == 7  # iOS 16
    for key in ("author", "license", "version", "description", "u2zoo.parity", "architecture", KEY):
        assert metadata[key], key
    assert metadata["com.apple.coreml.model.preview.type"] == "imageSegmenter"


def test_ios_15_gets_a_multi_array_and_is_told_so(tmp_path):
    artifact = convert(hard_checkpoint(TINY), "coreml", tmp_path, options=Options(target="iOS15", size=SIZE))[0]
    package = Package.open(artifact.path)
    assert package.spec_version == 6
    assert not hasattr(package.outputs["mask"], "colour")
    assert "FromArray" not in (text := artifact.beside[0].read_text(encoding="utf-8"))
    assert "multiArrayValue" in text


@pytest.mark.parametrize(
    ("fmt", "options", "says"),
    [
        ("onnx", Options(sizes=((64, 64), (96, 96)), size=(64, 64)), "one file takes one size"),
        ("coreml", Options(sizes=((64, 64), (100, 100)), size=(64, 64)), "multiples of 32"),
        ("coreml", Options(io="image", outputs="all"), "--outputs all goes with --io tensor"),
        ("coreml", Options(target="iOS14"), "cannot honour --target iOS14; it has: iOS16, iOS15"),
        ("onnx", Options(target="iOS16"), "cannot honour --target"),
        ("onnx", Options(profile="paper"), "cannot honour --profile with --io tensor"),
        ("onnx", Options(stretch=False), "cannot honour --minmax with --io tensor"),
        ("onnx", Options(io="image", profile="cloth"), "profile cloth reads 4 classes"),
        (
            "coreml",
            Options(size=(64, 64), span=((64, 64), (65536, 65536))),
            "size 65536x65536: sides are whole numbers",
        ),
        ("tflite", Options(io="image", via="onnx2tf"), "--io image goes with --via native"),
        ("coreml", Options(target="iOS15", precision="int8"), "needs --target iOS16"),
    ],
    ids=str,
)
def test_what_cannot_be_had_is_refused_with_what_can(small, tmp_path, fmt, options, says):
    with pytest.raises(OptionError, match=says):
        convert(small, fmt, tmp_path, options=options)
    assert not list(tmp_path.iterdir())


def test_an_unknown_profile_is_named(small, tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown profile 'papr'.* did you mean 'paper'"):
        convert(small, "onnx", tmp_path, options=Options(io="image", profile="papr"))


def test_grey_networks_have_no_image_form(tmp_path):
    grey = hard_checkpoint(
        two_level("tiny", [("4", 4, 8), ("4F", 4, 8), ("4F", 4, 8)], [("4F", 4, 8), ("4", 4, 8)], in_ch=1)
    )
    with pytest.raises(OptionError, match="takes 1 channel, not RGB"):
        convert(grey, "onnx", tmp_path, options=Options(io="image", size=SIZE))
    made = convert(grey, "coreml", tmp_path, options=Options(size=SIZE))[0]  # asked for nothing: what fits is taken
    assert made.options.io == "tensor"
    assert made.remarks == ("coreml takes a tensor, not pictures: the network takes 1 channel, not RGB",)


def test_a_profile_that_is_wrong_in_the_graph_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.embedded.EmbeddedPreprocessing.before", lambda self, ops, pixels: pixels / 255.0)
    with pytest.raises(ParityError, match="of pixels within 1 grey level"):
        convert(hard_checkpoint(TINY), "onnx", tmp_path, options=Options(io="image", size=SIZE))
    assert not list(tmp_path.iterdir())


def test_metadata_that_makes_no_sense_is_no_profile():
    for words in ({}, {KEY: "["}, {KEY: '{"name": "x"}'}, {KEY: "[]"}, {KEY: '{"name": ["a"], "stretch": 1}'}):
        assert read_embedded(words) is None


def test_an_artifact_of_pictures_is_a_source_like_any_other(pictured, tmp_path):
    """What a file says of itself is not handed on to what is made of its weights."""
    artifact = convert(pictured["onnx"].path, "onnx", tmp_path, options=Options(size=SIZE, outputs="mask"))[0]
    assert FORMATS["onnx"].run(artifact.path).embedded is None


def test_pictures_without_a_profile_are_refused(tmp_path, pictured):
    import onnx

    model = onnx.load(pictured["onnx"].path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ArtifactError, match="answers pictures, and does not say which profile"):
        FORMATS["onnx"].run(tmp_path / "bare.onnx")
