"""Image in, mask out: a profile in the graph of an artifact answers as the profile in Python, on the same pixels."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import SMALL, hard_checkpoint, u2zoo
from PIL import Image
from skimage import data

from converters import FORMATS, Options, convert
from converters.baking import KEY, baking_of, read_baking
from converters.mil import Package
from converters.parity import picture_of
from converters.sources import read_source
from converters.swift import class_name, swift_file, swift_name
from converters.torch_predictor import TorchPredictor
from u2net_zoo import Session
from u2net_zoo.errors import ArtifactError, OptionError, OutputError, ParityError, UnknownNameError, UsageError
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 96)
PICTURED = ("onnx", "savedmodel", "tflite", "coreml", "mlmodel")
CLASSES = replace(SMALL, out_ch=4, final="none")


def pixels(size=SIZE) -> np.ndarray:
    return PROFILES["paper"].pixels(Image.fromarray(data.chelsea()), size)


def run(artifact, picture: np.ndarray) -> np.ndarray:
    return FORMATS[artifact.format].run(artifact.path)(picture.transpose(2, 0, 1)[None])["mask"][0, 0]


@pytest.fixture(scope="module")
def pictured(small, tmp_path_factory):
    """One artifact of each format, made once."""
    folder = tmp_path_factory.mktemp("pictured")
    made = convert(small, PICTURED, folder, name="a", options=Options(io="image", size=SIZE))
    return {artifact.format: artifact for artifact in made}


def test_every_format_that_says_image_is_here():
    assert {name for name, fmt in FORMATS.items() if "image" in fmt.choices.get("io", ())} == set(PICTURED)


@pytest.mark.parametrize("name", PICTURED)
def test_pixels_give_the_profiles_mask(pictured, small, name):
    """On a photograph that the gate has not seen."""
    artifact = pictured[name]
    assert artifact.report.pixels.near >= 0.995
    picture = pixels()
    wanted = picture_of(TorchPredictor(small), baking_of(small.arch, artifact.options), picture)
    got = run(artifact, picture)
    assert (got.shape, got.dtype) == (SIZE, np.uint8)
    assert (np.abs(got.astype(int) - wanted) <= 1).mean() >= 0.995
    assert np.ptp(got) == 255  # stretched


@pytest.mark.parametrize("name", PICTURED)
def test_a_black_photograph_and_an_empty_mask_are_no_noise(pictured, name):
    assert np.isfinite(run(pictured[name], np.zeros((*SIZE, 3), np.uint8))).all()


def test_an_empty_mask_stays_empty(tmp_path):
    """d0 that varies by less than a grey level is not stretched to a full mask: here the fusion's weights are tiny."""
    checkpoint = hard_checkpoint(SMALL)
    state = {key: value * 1e-6 if key.startswith("outconv") else value for key, value in checkpoint.state.items()}
    artifact = convert(replace(checkpoint, state=state), "onnx", tmp_path, options=Options(io="image", size=SIZE))[0]
    assert run(artifact, pixels()).max() <= 1


@pytest.mark.parametrize("name", PICTURED)
def test_the_weights_come_back_out(pictured, small, name):
    found = read_source(pictured[name].path)
    folded = small.fold()
    assert {key: value.shape for key, value in found.fold().state.items()} == {
        key: value.shape for key, value in folded.state.items()
    }
    for key, value in folded.state.items():
        np.testing.assert_allclose(found.fold().state[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", PICTURED)
def test_a_session_reads_the_profile_from_the_file_and_normalises_nothing_twice(pictured, small, name):
    photograph = Image.fromarray(data.chelsea())
    session = Session(pictured[name].path, profile="isnet")  # what the file says counts
    assert session.profile.name == "paper"
    wanted = Session(small).predictor
    d0 = wanted(PROFILES["paper"].normalised(pixels()))["mask"][0, 0]
    off = np.abs(
        np.asarray(session.mask(photograph), int) - np.asarray(PROFILES["paper"].mask(d0, photograph.size), int)
    )
    assert session.mask(photograph).size == photograph.size
    assert (off <= 1).mean() >= 0.995


@pytest.mark.parametrize("name", ["portrait", "isnet", "isnet-anime", "sky", "rembg"])
def test_every_profiles_ending_is_in_the_graph(small, tmp_path, name):
    artifact = convert(small, "onnx", tmp_path, options=Options(io="image", size=SIZE, profile=name))[0]
    assert artifact.report.pixels.near >= 0.995
    assert Session(artifact.path).profile.name == name


def test_logits_of_a_mask_go_through_the_sigmoid_in_the_graph(tmp_path):
    logits = hard_checkpoint(SMALL).with_final("none")
    options = Options(io="image", size=SIZE, profile="isnet-anime")
    assert baking_of(logits.arch, options).sigmoid
    assert convert(logits, "onnx", tmp_path, options=options)[0].report.ok


@pytest.mark.parametrize("name", ["onnx", "coreml"])
def test_classes_come_out_as_a_class_map_with_names(tmp_path, name):
    checkpoint = hard_checkpoint(CLASSES).with_meta(classes=json.dumps(["background", "coat", "trousers", "dress"]))
    artifact = convert(checkpoint, name, tmp_path, options=Options(io="image", size=SIZE, profile="cloth"))[0]
    assert artifact.report.pixels.near >= 0.995
    assert set(np.unique(run(artifact, pixels()))) <= {0, 1, 2, 3}
    assert Session(artifact.path).mask(Image.fromarray(data.chelsea())).mode == "P"
    if name == "coreml":
        metadata = Package.open(artifact.path).metadata
        assert json.loads(metadata["com.apple.coreml.model.preview.params"])["labels"][1] == "coat"


def test_without_minmax_the_probability_itself_comes_out(small, tmp_path):
    artifact = convert(small, "onnx", tmp_path, options=Options(io="image", size=SIZE, stretch=False))[0]
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


def test_ios_15_gets_a_multi_array_and_is_told_so(small, tmp_path):
    artifact = convert(small, "coreml", tmp_path, options=Options(target="iOS15", size=SIZE))[0]
    package = Package.open(artifact.path)
    assert package.spec_version == 6
    assert not hasattr(package.outputs["mask"], "colour")
    assert "FromArray" not in (text := artifact.beside[0].read_text(encoding="utf-8"))
    assert "multiArrayValue" in text


@pytest.mark.parametrize(
    "options",
    [
        Options(sizes=((64, 96), (96, 64), (128, 128)), size=(64, 96)),
        Options(span=((64, 64), (128, 128)), size=(64, 64)),
    ],
    ids=["enumerated", "range"],
)
def test_one_package_is_right_at_every_size(small, tmp_path, options):
    artifact = convert(small, "coreml", tmp_path, options=options)[0]
    assert artifact.report.sizes
    predictor = FORMATS["coreml"].run(artifact.path)
    for size in ((96, 64), (128, 128)):
        wanted = picture_of(TorchPredictor(small), predictor.baking, pixels(size))
        got = predictor(pixels(size).transpose(2, 0, 1)[None])["mask"][0, 0]
        assert (np.abs(got.astype(int) - wanted) <= 1).mean() >= 0.995
    with pytest.raises(UsageError, match="allowed"):
        predictor(pixels((32, 32)).transpose(2, 0, 1)[None])
    if options.span:
        with pytest.raises(ArtifactError, match="takes sides that are multiples of 32, got 100x96"):
            predictor(pixels((100, 96)).transpose(2, 0, 1)[None])
    assert Session(artifact.path).size == options.size


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
    grey = hard_checkpoint(replace_in_channels())
    with pytest.raises(OptionError, match="takes 1 channels, not RGB"):
        convert(grey, "onnx", tmp_path, options=Options(io="image", size=SIZE))
    made = convert(grey, "coreml", tmp_path, options=Options(size=SIZE))[0]  # asked for nothing: what fits is taken
    assert made.options.io == "tensor"


def replace_in_channels():
    from u2net_zoo.arch import two_level

    kinds, ups = ("7", "6", "5", "4", "4F", "4F"), ("4F", "4", "5", "6", "7")
    return two_level("grey", [(k, 4, 8) for k in kinds], [(k, 4, 8) for k in ups], in_ch=1)


def test_a_profile_that_is_wrong_in_the_graph_is_not_kept(small, tmp_path, monkeypatch):
    monkeypatch.setattr("converters.baking.Baking.before", lambda self, ops, pixels: pixels / 255.0)
    with pytest.raises(ParityError, match="of pixels within 1 grey level"):
        convert(small, "onnx", tmp_path, options=Options(io="image", size=SIZE))
    assert not list(tmp_path.iterdir())


def test_metadata_that_makes_no_sense_is_no_profile():
    for words in ({}, {KEY: "["}, {KEY: '{"name": "x"}'}, {KEY: "[]"}, {KEY: '{"name": ["a"], "stretch": 1}'}):
        assert read_baking(words) is None


def test_an_artifact_of_pictures_is_a_source_like_any_other(pictured, tmp_path):
    """What a file says of itself is not handed on to what is made of its weights."""
    artifact = convert(pictured["onnx"].path, "onnx", tmp_path, options=Options(size=SIZE, outputs="mask"))[0]
    assert FORMATS["onnx"].run(artifact.path).baking is None


def test_pictures_without_a_profile_are_refused(tmp_path, pictured):
    import onnx

    model = onnx.load(pictured["onnx"].path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ArtifactError, match="answers pictures, and does not say which profile"):
        FORMATS["onnx"].run(tmp_path / "bare.onnx")


@pytest.mark.parametrize("target", ["iOS15", "iOS16", "iOS17", "iOS18"])
@pytest.mark.parametrize("profile", ["paper", "isnet-anime"])
@pytest.mark.parametrize("half", [True, False])
def test_the_swift_file_is_swift(target, profile, half):
    from tree_sitter import Language, Parser
    from tree_sitter_swift import language

    baking = baking_of(SMALL, Options(io="image", profile=profile))
    text = swift_file("2 small-nets", baking, target=target, half=half)
    tree = Parser(Language(language())).parse(text.encode())
    assert not tree.root_node.has_error
    assert "func mask(for photograph: CGImage) throws -> CGImage" in text
    assert "extension _2_small_nets" in text
    assert "$" not in text
    assert Parser(Language(language())).parse(text.replace("}", "", 1).encode()).root_node.has_error


def test_the_swift_file_is_named_after_the_class_that_xcode_makes():
    assert swift_name("u2netp") == "U2Netp+Mask.swift"
    assert class_name("my-net.v2") == "my_net_v2"


def test_the_command_writes_package_and_swift_and_masks_with_it(small_file, tmp_path):
    done = u2zoo("convert", small_file, "--to", "coreml", "--size", "64..128", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["Small+Mask.swift", "small.mlpackage"]
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.png")
    done = u2zoo("mask", tmp_path / "cat.png", "-o", tmp_path / "mask.png", "--model", tmp_path / "out/small.mlpackage")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "mask.png").size == Image.fromarray(data.chelsea()).size


def test_a_swift_file_that_was_not_written_for_the_package_is_kept(small, tmp_path):
    (tmp_path / "A_b+Mask.swift").write_text("// mine\n")
    with pytest.raises(OutputError, match=r"A_b\+Mask\.swift: was not written for a-b\.mlpackage; move it"):
        convert(small, "coreml", tmp_path, name="a-b", options=Options(size=(64, 64)))
    assert [file.name for file in tmp_path.iterdir()] == ["A_b+Mask.swift"]
    assert (tmp_path / "A_b+Mask.swift").read_text() == "// mine\n"


@pytest.mark.parametrize("size", ["512..256", "320,", "64..", "a..b", "64,abc"])
def test_sizes_that_are_none(small_file, tmp_path, size):
    done = u2zoo("convert", small_file, "--to", "coreml", "--size", size, "-o", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_legacy_is_a_form_of_coreml(small_file, tmp_path):
    done = u2zoo("convert", small_file, "--to", "onnx", "--legacy", "-o", tmp_path)
    assert done.returncode == 2
    assert "asks for no coreml" in done.stderr
